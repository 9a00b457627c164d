import multiprocessing
import sqlite3
import threading
import time

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from cellml.errors import Away, UserError
from cellml.sweep import storage

REFUSED = sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("connection refused\nmore"))
BROKEN = sqlalchemy.exc.PendingRollbackError("Can't reconnect until invalid transaction is rolled back.")


def away(cause=REFUSED):
    error = StorageInternalError("x")
    error.__cause__ = cause
    return error


class Flaky(InMemoryStorage):
    """Does as asked, and loses the answer; or does not even hear the question."""

    def __init__(self, before=0, after=0, cause=REFUSED):
        super().__init__()
        self.before, self.after, self.cause = before, after, cause

    def set_trial_state_values(self, *arguments, **named):
        if self.before:
            self.before -= 1
            raise away(self.cause)
        done = super().set_trial_state_values(*arguments, **named)
        if self.after:
            self.after -= 1
            raise away()
        return done


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(storage, "PAUSE", 0.001)


def test_the_study_lies_beside_the_tracking_store(monkeypatch):
    monkeypatch.delenv("CELLML_STORAGE", raising=False)
    assert storage.default_url("sqlite:////somewhere/mlflow.db") == "sqlite:////somewhere/optuna.db"
    assert storage.default_url("sqlite:///mlflow.db") == "sqlite:///optuna.db"
    assert storage.default_url("http://127.0.0.1:5000") == "sqlite:///optuna.db"
    monkeypatch.setenv("CELLML_STORAGE", "postgresql://lab/optuna")
    assert storage.default_url("http://127.0.0.1:5000") == "postgresql://lab/optuna"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("sqlite:////no/such/folder/x.db", "name a file in a folder that exists"),
        ("sqlite:///" + __file__, "name another file"),
        ("postgresql://u:secret@127.0.0.1:1/x", "start it, or correct storage"),
        ("nonsense", "storage is sqlite:///FILE, postgresql://USER:PASSWORD"),
        ("postgres+nonsense://u:secret@h/x", "storage is sqlite:///FILE, postgresql://USER:PASSWORD"),
    ],
)
def test_a_database_that_does_not_open_is_one_line_without_its_password(url, advice):
    with pytest.raises(UserError, match=f"Expected an Optuna database.*{advice}") as caught:
        storage.open_storage(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_of_another_schema_says_what_to_do(tmp_path):
    url = f"sqlite:///{tmp_path}/optuna.db"
    storage.open_storage(url)
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'v9.9.9.z'")
        database.execute("UPDATE version_info SET schema_version = 99")
    with pytest.raises(UserError, match="optuna storage upgrade --storage URL"):
        storage.open_storage(url)


@pytest.mark.parametrize("flaky", [Flaky(before=3), Flaky(after=1), Flaky(before=1, cause=BROKEN)])
def test_a_call_is_tried_again_whether_question_or_answer_was_lost(flaky):
    study = optuna.create_study(storage=storage.Patient(flaky))
    trial = study.ask()
    study.tell(trial, 0.5)
    assert study.trials[0].state == TrialState.COMPLETE
    assert study.trials[0].value == 0.5


def test_a_trial_that_has_ended_is_not_ended_again():
    study = optuna.create_study(storage=storage.Patient(Flaky()))
    trial = study.ask()
    study.tell(trial, 0.5)
    with pytest.raises(UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)


def test_after_a_while_it_is_one_line():
    study = optuna.create_study(storage=storage.Patient(Flaky(before=10**9)))
    trial = study.ask()
    with storage.patience(0.05), pytest.raises(Away, match=r"none for 0 s: .*refused.*same command continues"):
        study.tell(trial, 0.5)


def test_patience_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("CELLML_PATIENCE", "0.05")
    study = optuna.create_study(storage=storage.Patient(Flaky(before=10**9)))
    start = time.monotonic()
    with pytest.raises(Away):
        study.tell(study.ask(), 0.5)
    assert time.monotonic() - start < 5


def test_a_wrong_question_is_not_repeated():
    patient = storage.Patient(InMemoryStorage())
    with pytest.raises(KeyError):
        patient.get_trial(99)


def test_a_locked_file_is_waited_for(tmp_path):
    url = f"sqlite:///{tmp_path}/optuna.db"
    patient = storage.open_storage(url)
    patient.behind._backend.engine.dispose()
    lock = sqlite3.connect(tmp_path / "optuna.db", check_same_thread=False, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.5, lambda: lock.execute("ROLLBACK"))
    release.start()
    optuna.create_study(storage=patient, study_name="s")
    release.join()
    lock.close()
    assert [found.study_name for found in patient.get_all_studies()] == ["s"]


def test_processes_that_come_to_a_new_database_at_once_all_open_it(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "PAUSE", 0.5)
    several = multiprocessing.get_context("fork")
    for number in range(2):
        start, url = several.Barrier(6), f"sqlite:///{tmp_path}/{number}.db"
        pool = [several.Process(target=_open, args=(start, url)) for _ in range(6)]
        for one in pool:
            one.start()
        for one in pool:
            one.join(60)
        assert [one.exitcode for one in pool] == [0] * 6


def _open(start, url):
    start.wait()
    storage.open_storage(url).get_all_studies()

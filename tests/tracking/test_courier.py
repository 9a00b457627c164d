"""Delivery into a store that fails in every way; a real server that is stopped is in `test_away`."""

import errno
import logging
import threading
import time

import pytest
import requests
from mlflow import MlflowClient

from cellml.errors import Away
from cellml.tracking import courier, entries, runs
from cellml.tracking.journal import Journal, spool


class Store:
    """Keeps what is delivered; answers are taken from `faults` first."""

    def __init__(self):
        self.got, self.faults, self.away = [], [], threading.Event()

    def deliver(self, client, run_id, entry, journal=None):
        if self.away.is_set():
            raise requests.ConnectionError("refused")
        fault = self.faults.pop(0) if self.faults else None
        if fault == "lost":  # taken, and the answer did not arrive
            self.got.append((run_id, entry))
            raise requests.Timeout("no answer")
        if fault is not None:
            raise fault
        self.got.append((run_id, entry))

    def tags(self, run_id="r1"):
        return [entry["tags"]["k"] for name, entry in self.got if name == run_id]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("CELLML_PATIENCE", "5")
    found = Store()
    monkeypatch.setattr(entries, "deliver", found.deliver)
    return found


def delivering(run_id="r1", seconds=5.0):
    return courier.delivering(run_id, lambda error: seconds)


def put(value, run_id="r1"):
    courier.put(run_id, {"tags": {"k": value}})


def status(code):
    error = requests.HTTPError(f"{code}")
    error.response = requests.Response()
    error.response.status_code = code
    return error


def test_all_is_delivered_in_order_when_the_block_ends(store):
    with delivering(), delivering("r2"):
        for k in range(20):
            put(k)
            put(-k, "r2")
    assert store.tags() == list(range(20))
    assert store.tags("r2") == [-k for k in range(20)]
    assert list(spool().iterdir()) == []


def test_faults_that_pass_delay_and_change_nothing(store):
    store.faults = [None, requests.ConnectionError("x"), status(503), status(429), "lost", status(500), None]
    with delivering():
        for k in range(4):
            put(k)
        before = time.monotonic()
        courier.settle("r1")
    assert time.monotonic() - before < 5
    assert store.tags() == [0, 1, 1, 2, 3]  # an entry may arrive twice, which the store does not show


def test_a_refusal_is_raised_by_the_run_that_logged_it(store):
    store.faults = [status(400)]
    with delivering():
        put(1)
        put(2)
        with pytest.raises(requests.HTTPError, match="400"):
            courier.settle("r1")
        put(3)
        courier.settle("r1")
    assert store.tags() == [2, 3]


def test_a_refusal_is_told_when_the_next_epoch_is_logged(store):
    store.faults = [status(400)]
    with delivering():
        put(1)
        while not store.got:
            put(2)
            time.sleep(0.05)
        with pytest.raises(requests.HTTPError, match="400"):
            courier.put("r1", *entries.metrics({"loss": 1.0}, 0))


def test_a_store_that_stays_away_leaves_the_journal(store, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "level", logging.ERROR)  # as some libraries do
    store.away.set()
    with delivering(seconds=0.5):
        put(1)
        before = time.monotonic()
    assert time.monotonic() - before < 3
    assert "the next command here delivers it" in caplog.text
    for _ in range(100):  # the thread lets go of it
        if (journal := Journal.take(spool() / "r1", "http://127.0.0.1:9")) is not None:
            break
        time.sleep(0.05)
    journal.close()
    store.away.clear()
    assert courier.deliver_left() == ["run r1: 1 entries delivered that an earlier command has left"]
    assert courier.deliver_left() == []
    assert store.tags() == [1]


def test_what_is_left_of_a_deleted_run_does_not_stand_in_the_way(store):
    for name in ("r1", "r2"):
        journal = Journal.create(name, "http://127.0.0.1:9")
        journal.append({"tags": {"k": name}})
        journal.close()
    store.faults = [status(404)]
    first, second = courier.deliver_left()
    assert "r1" in first
    assert "refused" in first
    assert second == "run r2: 1 entries delivered that an earlier command has left"
    assert store.tags("r2") == ["r2"]
    assert list(spool().iterdir()) == []


def test_another_users_journal_stays_for_that_user(store):
    journal = Journal.create("r1", "http://127.0.0.1:9")
    journal.append({"tags": {"k": 1}})
    journal.close()
    store.faults = [status(403)]
    assert "refused" in courier.deliver_left()[0]
    assert courier.deliver_left() == ["run r1: 1 entries delivered that an earlier command has left"]


def test_a_full_disk_makes_the_run_wait_for_the_server(store, monkeypatch, caplog):
    def full(self, entry):
        raise OSError(errno.ENOSPC, "No space left on device")

    with delivering():
        put(0)
        monkeypatch.setattr(Journal, "append", full)
        put(1)
        assert store.tags() == [0, 1]
    assert "No space left" in caplog.text


def test_runs_of_other_processes_and_databases_are_written_at_once(store, monkeypatch, tmp_path):
    put(1)
    assert store.tags() == [1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with delivering():
        put(2)
        assert store.tags() == [1, 2]
        assert not spool().exists()
        assert type(courier.client()) is MlflowClient


def test_artifacts_of_a_block_that_fails_are_not_kept(store):
    def write():
        with courier.place("r1") as folder:
            (folder / "half.txt").write_text("")
            raise ZeroDivisionError

    with delivering():
        with pytest.raises(ZeroDivisionError):
            write()
        assert not list((spool() / "r1").glob("artifacts-*"))
    assert store.got == []


def test_reading_waits_for_what_was_logged(store, monkeypatch):
    monkeypatch.setattr(MlflowClient, "get_run", lambda self, run_id: len(store.got))
    store.faults = [requests.ConnectionError("x")] * 3
    with delivering():
        put(1)
        assert courier.client().get_run("r1") == 1
        store.away.set()
        put(2)
        monkeypatch.setenv("CELLML_PATIENCE", "0.2")
        with pytest.raises(Away, match="no answer"):
            runs.existing("r1")
        store.away.clear()

"""Savings at the database change nothing of what a study holds."""

import threading

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cellml import config
from cellml.sweep import batched, space
from cellml.sweep import study as studies

EXPERIMENT = config.parse(
    {
        "name": "x",
        "sweep": {
            "mode": "best",
            "backbones": ["a", "b"],
            "strategies": ["none", "balanced"],
            "space": {
                "train.lr": {"low": 1e-4, "high": 1.0, "log": True},
                "train.epochs": {"low": 1, "high": 9, "integer": True},
            },
        },
    }
)


def swept(storage, trials=14):
    """A small sweep whose scores are those of its parameters."""
    study = studies.open_study(storage, "s", EXPERIMENT, maximize=True)
    for _ in range(trials):
        trial = study.ask()
        with batched.block():
            space.suggest(trial, EXPERIMENT)
        trial.set_user_attr("run_id", f"run {trial.number}")
        for step in range(2):
            trial.report(step, step)
            with batched.block():
                trial.should_prune()
        study.tell(trial, trial.params["train.lr"])
    return study


def told(study):
    return [
        (t.params, t.distributions, t.user_attrs, t.system_attrs, t.intermediate_values, t.state, t.values)
        for t in study.get_trials()
    ]


@pytest.fixture
def storage(tmp_path):
    return batched.Batched(RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}"))


def test_a_study_is_what_optunas_own_storage_makes_it(storage):
    ours, plain = swept(storage), swept(optuna.storages.InMemoryStorage())
    assert told(ours) == told(plain)


def test_another_process_reads_the_same(storage, tmp_path):
    ours = swept(storage)
    assert told(optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'optuna.db'}")) == told(ours)


def test_a_block_takes_one_transaction(storage):
    study = swept(storage, 12)
    trial = study.ask()
    begun = []
    sqlalchemy.event.listen(storage._backend.engine, "begin", begun.append)
    with batched.block():
        space.suggest(trial, EXPERIMENT)
    assert begun == []  # `ask` has just read the others
    trial.set_user_attr("run_id", "x")
    assert len(begun) == 1
    stored = study.get_trials()[-1]
    assert len(stored.params) == 4
    assert stored.params == trial.params


def test_others_are_read_again_outside_a_block(storage, tmp_path):
    study = swept(storage, 1)
    other = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    with batched.block():
        other.ask()
        assert len(study.get_trials()) == 1
    assert len(study.get_trials()) == 2


def test_what_is_kept_is_written_before_a_trial_ends(storage):
    study = swept(storage, 1)
    trial = study.ask()
    with batched.block():
        space.suggest(trial, EXPERIMENT)
    study.tell(trial, 1.0)
    assert study.get_trials()[-1].params == trial.params


def test_a_second_try_after_a_lost_answer_changes_nothing(storage, monkeypatch):
    study = swept(storage, 1)
    trial = study.ask()
    with batched.block():
        space.suggest(trial, EXPERIMENT)
    transact = storage._transact

    def lost(*arguments):
        transact(*arguments)
        raise ConnectionError

    monkeypatch.setattr(storage, "_transact", lost)
    with pytest.raises(ConnectionError):
        trial.set_user_attr("run_id", "x")
    monkeypatch.setattr(storage, "_transact", transact)
    trial.set_user_attr("run_id", "x")
    stored = study.get_trials()[-1]
    assert (stored.params, stored.user_attrs["run_id"]) == (trial.params, "x")


def test_a_trial_that_was_given_up_takes_nothing_more(storage):
    study = swept(storage, 1)
    trial = study.ask()
    with batched.block():
        space.suggest(trial, EXPERIMENT)
    storage._backend.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    for _ in range(2):
        with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
            trial.set_user_attr("run_id", "x")
    assert study.get_trials()[-1].params == {}


def test_another_threads_write_leaves_alone_what_is_kept(storage):
    study = swept(storage, 1)
    trial = study.ask()
    with batched.block():
        space.suggest(trial, EXPERIMENT)
        beat = threading.Thread(target=storage.set_trial_user_attr, args=(trial._trial_id, "beat", 1))
        beat.start()
        beat.join()
        assert study._storage.get_trial(trial._trial_id).params == {}
    trial.set_user_attr("run_id", "x")
    stored = study.get_trials()[-1]
    assert (stored.params, stored.user_attrs) == (trial.params, {"beat": 1, "run_id": "x"})


def test_incompatible_values_are_refused(storage):
    study = swept(storage, 1)
    trial = study.ask()
    with batched.block(), pytest.raises(ValueError, match="CategoricalDistribution"):
        trial.suggest_categorical("model.backbone", ["a", "c"])

import multiprocessing
import subprocess
import sys
import time

import optuna
import pytest
from optuna.trial import TrialState

from cellml import config
from cellml.errors import UserError
from cellml.sweep import space, study


@pytest.fixture
def experiment():
    return config.parse({"name": "x", "sweep": {"backbones": ["a", "b"], "strategies": ["none", "balanced"]}})


@pytest.fixture
def opened(tmp_path, experiment):
    return study.open_study(f"sqlite:///{tmp_path / 'optuna.db'}", "s", experiment, maximize=True)


def run(opened, trial, experiment, value):
    space.suggest(trial, experiment)
    opened.tell(trial, value)


def test_the_queue_is_filled_once_and_emptied_in_order(opened, experiment):
    plan = space.plan(experiment, 6)
    study.enqueue(opened, plan)
    study.enqueue(opened, plan)
    keys = []
    while (trial := study.claim(opened, plan)) is not None:
        keys.append(trial.user_attrs["key"])
        run(opened, trial, experiment, 1.0)
    assert keys == [p.key for p in plan]
    assert len(study.finished(opened, plan)) == 6


def test_a_larger_plan_adds_only_what_is_missing_and_a_smaller_one_nothing(opened, experiment):
    small, large = space.plan(experiment, 2), space.plan(experiment, 5)
    study.enqueue(opened, small)
    run(opened, study.claim(opened, small), experiment, 1.0)
    study.enqueue(opened, large)
    assert len(opened.trials) == 5
    study.enqueue(opened, small)
    assert len(opened.trials) == 5
    assert study.claim(opened, small) is not None
    assert study.claim(opened, small) is None  # the rest of the larger plan stays in the queue


def test_failed_and_pruned_trials_count_as_finished(opened, experiment):
    plan = space.plan(experiment, 3)
    study.enqueue(opened, plan)
    for state in (TrialState.FAIL, TrialState.PRUNED):
        opened.tell(study.claim(opened, plan), state=state)
    assert len(study.finished(opened, plan)) == 2


def test_a_dead_processes_trial_is_queued_again_until_it_keeps_dying(tmp_path, opened, experiment):
    plan = space.plan(experiment, 1)
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    code = (
        "import os, sys; from cellml import config; from cellml.sweep import space, study\n"
        "e = config.parse({'name': 'x', 'sweep': {'backbones': ['a', 'b'], 'strategies': ['none', 'balanced']}})\n"
        "s = study.open_study(sys.argv[1], 's', e, True)\n"
        "assert study.claim(s, space.plan(e, 1)) is not None; os.kill(os.getpid(), 9)"
    )
    for deaths in range(1, study.MAX_INTERRUPTIONS + 1):
        study.enqueue(opened, plan)
        assert subprocess.run([sys.executable, "-c", code, url], check=False).returncode == -9
        assert len(study.recover(opened)) == 1
        assert len(study.finished(opened, plan)) == (deaths == study.MAX_INTERRUPTIONS)
    study.enqueue(opened, plan)
    assert study.claim(opened, plan) is None
    assert study.finished(opened, plan)[0].user_attrs["reason"] == "interrupted 3 times"


def test_this_processes_trial_is_alive(opened, experiment):
    plan = space.plan(experiment, 1)
    study.enqueue(opened, plan)
    study.claim(opened, plan)
    assert study.recover(opened) == []


def _claim_all(url, found):
    experiment = config.parse({"name": "x", "sweep": {"backbones": ["a", "b"], "strategies": ["none", "balanced"]}})
    opened = study.open_study(url, "s", experiment, True)
    plan = space.plan(experiment, 20)
    while (trial := study.claim(opened, plan)) is not None:
        time.sleep(0.01)
        found.put(trial.user_attrs["key"])
        run(opened, trial, experiment, 0.5)


def test_processes_never_claim_the_same_trial(tmp_path, opened, experiment):
    study.enqueue(opened, space.plan(experiment, 20))
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    pool = [context.Process(target=_claim_all, args=(f"sqlite:///{tmp_path / 'optuna.db'}", found)) for _ in range(2)]
    for process in pool:
        process.start()
    keys = [found.get(timeout=60) for _ in range(20)]
    for process in pool:
        process.join(30)
        assert process.exitcode == 0
    assert sorted(keys) == sorted(p.key for p in space.plan(experiment, 20))
    assert len(opened.trials) == 20


def test_best_of_cells_and_order(opened, experiment):
    plan = space.plan(experiment, 8)
    study.enqueue(opened, plan)
    values = iter([0.1, 0.9, 0.3, 0.4, 0.5, 0.2, 0.3, 0.8])
    while (trial := study.claim(opened, plan)) is not None:
        run(opened, trial, experiment, next(values))
    best = study.best_of_cells(opened, experiment)
    assert {cell: t.value for cell, t in best.items()} == {
        ("a", "none"): 0.5,
        ("a", "balanced"): 0.9,
        ("b", "none"): 0.3,
        ("b", "balanced"): 0.8,
    }
    assert [t.value for t in study.best_first(list(best.values()), opened)] == [0.9, 0.8, 0.5, 0.3]


def test_the_study_lies_beside_the_tracking_store():
    assert study.default_url("sqlite:////somewhere/mlflow.db") == "sqlite:////somewhere/optuna.db"
    assert study.default_url("sqlite:///mlflow.db") == "sqlite:///optuna.db"
    assert study.default_url("http://127.0.0.1:5000") == "sqlite:///optuna.db"


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/x.db", "postgresql://u:secret@127.0.0.1:1/x"])
def test_a_database_that_does_not_open_is_one_line_without_its_password(url, experiment):
    with pytest.raises(UserError, match="Expected an Optuna database") as caught:
        study.open_study(url, "s", experiment, True)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rank_never_prunes(experiment):
    assert isinstance(study._pruner(experiment), optuna.pruners.NopPruner)
    assert isinstance(study._pruner(experiment.replace({"sweep.mode": "best"})), optuna.pruners.MedianPruner)

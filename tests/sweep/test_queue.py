import multiprocessing
import time

from optuna.trial import TrialState

from cellml import config
from cellml.sweep import queue, space, storage, study


def run(opened, trial, experiment, value):
    space.suggest(trial, experiment)
    opened.tell(trial, value)


def test_the_queue_is_filled_once_and_emptied_in_order(opened, experiment):
    plan = space.plan(experiment, 6)
    queue.enqueue(opened, plan)
    queue.enqueue(opened, plan)
    keys = []
    while (trial := queue.claim(opened, plan)) is not None:
        keys.append(trial.user_attrs["key"])
        run(opened, trial, experiment, 1.0)
    assert keys == [p.key for p in plan]
    assert len(queue.finished(opened, plan)) == 6


def test_a_long_plan_waits_in_portions(opened, experiment, monkeypatch):
    monkeypatch.setattr(queue, "AHEAD", 4)
    plan = space.plan(experiment, 7)
    assert queue.enqueue(opened, plan) == 4
    assert queue.enqueue(opened, plan) == 0
    keys = []
    while (trial := queue.claim(opened, plan)) is not None:
        keys.append(trial.user_attrs["key"])
        run(opened, trial, experiment, 1.0)
        queue.enqueue(opened, plan)
    assert keys == [p.key for p in plan]


def test_a_larger_plan_adds_only_what_is_missing_and_a_smaller_one_nothing(opened, experiment):
    small, large = space.plan(experiment, 2), space.plan(experiment, 5)
    queue.enqueue(opened, small)
    run(opened, queue.claim(opened, small), experiment, 1.0)
    queue.enqueue(opened, large)
    assert len(opened.trials) == 5
    queue.enqueue(opened, small)
    assert len(opened.trials) == 5
    assert queue.claim(opened, small) is not None
    assert queue.claim(opened, small) is None  # the rest of the larger plan stays in the queue


def test_failed_and_pruned_trials_count_as_finished(opened, experiment):
    plan = space.plan(experiment, 3)
    queue.enqueue(opened, plan)
    for state in (TrialState.FAIL, TrialState.PRUNED):
        opened.tell(queue.claim(opened, plan), state=state)
    assert len(queue.finished(opened, plan)) == 2


def _claim_all(url, found):
    experiment = config.parse({"name": "x", "sweep": {"backbones": ["a", "b"], "strategies": ["none", "balanced"]}})
    opened = study.open_study(storage.open_storage(url), "s", experiment, True)
    plan = space.plan(experiment, 20)
    while (trial := queue.claim(opened, plan)) is not None:
        time.sleep(0.01)
        found.put(trial.user_attrs["key"])
        run(opened, trial, experiment, 0.5)


def test_processes_never_claim_the_same_trial(tmp_path, opened, experiment):
    queue.enqueue(opened, space.plan(experiment, 20))
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    pool = [context.Process(target=_claim_all, args=(f"sqlite:///{tmp_path / 'optuna.db'}", found)) for _ in range(3)]
    for process in pool:
        process.start()
    keys = [found.get(timeout=60) for _ in range(20)]
    for process in pool:
        process.join(30)
        assert process.exitcode == 0
    assert sorted(keys) == sorted(p.key for p in space.plan(experiment, 20))
    assert len(opened.trials) == 20


def test_an_interrupted_trial_of_the_samplers_is_queued_with_the_values_it_had(opened, experiment):
    free = experiment.replace({"sweep.mode": "best", "sweep.space": {"train.lr": {"low": 1e-4, "high": 1e-1}}})
    plan = space.plan(free, 1)
    queue.enqueue(opened, plan)
    first = queue.claim(opened, plan)
    chosen = space.suggest(first, free)
    queue.interrupt(opened, first)
    assert queue.enqueue(opened, plan) == 1
    second = queue.claim(opened, plan)
    assert space.suggest(second, free) == chosen
    assert second.number != first.number

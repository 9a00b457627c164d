import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from optuna.trial import TrialState

from cellml import processes
from cellml.sweep import life, queue, space, storage, study


def claim_and_die(url, experiment, epochs):
    trial = queue.claim(study.open_study(storage.open_storage(url), "s", experiment, True), space.plan(experiment, 1))
    for step in range(epochs):
        trial.report(0.5, step + 1)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def die(opened, experiment, url):
    """A process claims the next trial, reaches an epoch and dies; the trial is given up."""

    def die(epochs=0):
        queue.enqueue(opened, space.plan(experiment, 1))
        process = multiprocessing.get_context("fork").Process(target=claim_and_die, args=(url, experiment, epochs))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        (trial,) = opened.get_trials(states=(TrialState.RUNNING,))
        assert life.Watch().abandoned(trial)
        assert queue.interrupt(opened, trial, died=True)

    return die


def test_a_trial_that_kills_its_process_each_time_has_failed(opened, experiment, die):
    plan = space.plan(experiment, 1)
    for deaths in range(1, queue.MAX_DEATHS + 1):
        die()
        assert len(queue.finished(opened, plan)) == (deaths == queue.MAX_DEATHS)
    assert queue.enqueue(opened, plan) == 0
    assert queue.claim(opened, plan) is None
    assert queue.finished(opened, plan)[0].user_attrs["reason"] == "its process died 5 times in a row"


def test_a_trial_that_gets_further_each_time_goes_on(opened, experiment, die, monkeypatch):
    monkeypatch.setattr(queue, "MAX_DEATHS", 2)
    for epochs in (0, 1, 2):
        die(epochs)
    assert queue.finished(opened) == []
    die(2)
    assert len(queue.finished(opened)) == 1


def test_an_interruption_is_no_death(opened, experiment):
    plan = space.plan(experiment, 1)
    for _ in range(queue.MAX_DEATHS + 1):
        queue.enqueue(opened, plan)
        assert queue.interrupt(opened, queue.claim(opened, plan))
    assert queue.finished(opened) == []


def test_this_processes_trial_is_alive(opened, experiment):
    plan = space.plan(experiment, 1)
    queue.enqueue(opened, plan)
    queue.claim(opened, plan)
    (trial,) = opened.get_trials(states=(TrialState.RUNNING,))
    assert not life.Watch().abandoned(trial)


def test_another_machines_trial_is_abandoned_when_it_gives_no_sign(opened, experiment, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    plan = space.plan(experiment, 1)
    queue.enqueue(opened, plan)
    trial = queue.claim(opened, plan)
    trial.set_user_attr("process", {"host": "elsewhere", "pid": 1, "started": 0.0})

    def seen():
        return watch.abandoned(queue.stored(opened, trial))

    watch = life.Watch()
    assert not seen()
    now += life.GRACE - 1
    assert not seen()
    trial.set_user_attr("beat", 1)
    now += 2
    assert not seen()  # a sign, and the time begins anew
    now += life.GRACE + 1
    assert seen()


def test_a_trial_without_a_process_is_given_time(opened, experiment, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch, trial = life.Watch(), opened.ask()
    assert not watch.abandoned(queue.stored(opened, trial))  # claimed a moment ago, perhaps
    now += life.GRACE + 1
    assert watch.abandoned(queue.stored(opened, trial))


def test_signs_of_life_end_with_the_block(opened, monkeypatch):
    monkeypatch.setattr(life, "BEAT", 0.02)
    trial = opened.ask()
    with life.beating(opened._storage, trial._trial_id):
        deadline = time.monotonic() + 20
        while queue.stored(opened, trial).user_attrs.get("beat", 0) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    time.sleep(0.1)
    last = queue.stored(opened, trial).user_attrs["beat"]
    time.sleep(0.2)
    assert queue.stored(opened, trial).user_attrs["beat"] == last


def test_processes_are_told_apart():
    mine = processes.this_process()
    assert processes.gone(mine) is False
    assert processes.gone(mine | {"started": mine["started"] - 100}) is True  # its number was given again
    assert processes.gone(mine | {"host": "elsewhere"}) is None
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, not yet waited for
    assert processes.gone(mine | {"pid": child.pid, "started": time.time()}) is True
    child.wait()
    assert processes.gone(mine | {"pid": child.pid, "started": time.time()}) is True

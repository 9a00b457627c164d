"""Workers that join a sweep from outside: what they take part in, and what they refuse."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
from PIL import Image

from cellml import config
from cellml.data.prepare import prepare
from cellml.errors import UserError
from cellml.sweep import join, objective, queue, session, space, storage, study
from cellml.tracking import runs


@pytest.fixture
def images(workspace):
    rng = np.random.default_rng(0)
    for name in ("round", "spindle"):
        for number in range(8):
            path = workspace / "cells" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype("uint8")).save(path)
    return workspace / "cells"


@pytest.fixture
def begun(images, url, monkeypatch):
    """A sweep whose command has queued four trials and works on none."""
    monkeypatch.setattr(objective.trials, "run", lambda *a, **k: SimpleNamespace(score=0.5))
    experiment = config.parse(
        {"name": "x", "data": {"path": str(images)}, "sweep": {"trials": 4, "strategies": ["none", "balanced"]}}
    )
    planned = space.plan(experiment, 4)
    opened = study.open_study(storage.open_storage(url), "x-1234-abcd", experiment, maximize=True)
    with runs.parent("sweep", experiment, tags={"cellml.study": "x-1234-abcd"}) as parent:
        session.leave(opened, experiment, prepare(experiment), parent, None)
        queue.enqueue(opened, planned)
        yield SimpleNamespace(study=opened, planned=planned, parent=parent, experiment=experiment)


def left(begun, **changes):
    kept = begun.study.user_attrs["session"]
    begun.study.set_user_attr("session", kept | changes)


@pytest.mark.parametrize("name", ["x-1234-abcd", "x", ""])
def test_a_worker_runs_what_is_queued_under_the_sweeps_run(begun, url, name):
    said = []
    assert join.join(url, name, "", False, said.append) == 4
    assert said[0] == "joined x-1234-abcd: 4 trials asked"
    assert len(runs.children(begun.parent)) == 4 == len(queue.finished(begun.study, begun.planned))
    assert {r.status for r in runs.children(begun.parent)} == {"FINISHED"}


def test_nothing_to_do_ends_at_once(begun, url):
    said = []
    join.join(url, "", "", False, said.append)
    assert not [line for line in said if line.startswith("no sweep")]
    assert join.join(url, "", "", False, said.append) == 0
    assert said[-1].startswith(f"no sweep with trials that wait in {url}: name another database with storage")


class Enough(Exception):
    pass


def test_a_worker_that_waits_comes_back_to_its_sweep(begun, url, monkeypatch):
    runs.close(begun.parent.id, "KILLED", "interrupted")
    done = []

    def sleep(seconds):
        done.append(len(queue.finished(begun.study)))
        if len(done) == 2:
            raise Enough
        MlflowClient().update_run(begun.parent.id, status="RUNNING")  # its command again

    monkeypatch.setattr(join.time, "sleep", sleep)
    with pytest.raises(Enough):
        join.join(url, "x", "", True, print)
    assert done == [0, 4]


def test_a_sweep_that_was_stopped_is_left_alone(begun, url):
    runs.close(begun.parent.id, "KILLED", "interrupted")
    assert join.join(url, "", "", False, print) == 0
    assert begun.study.get_trials(states=(TrialState.RUNNING,)) == []


def test_no_trial_starts_after_the_sweeps_time_limit(begun, url):
    left(begun, until=0.0)
    assert join.join(url, "x", "", False, print) == 0


def test_images_may_lie_elsewhere_and_must_be_the_same(begun, url, images, workspace):
    os.rename(images, workspace / "moved")
    assert join.join(url, "x", str(workspace / "moved"), False, print) == 4


def test_other_images_are_refused(begun, url, images):
    Image.new("RGB", (8, 8)).save(images / "round" / "0.png")
    with pytest.raises(UserError, match=r"Expected the data of sweep x-1234-abcd, digest \w+, got \w+; give the same"):
        join.join(url, "x", "", False, print)
    assert begun.study.get_trials(states=(TrialState.RUNNING, TrialState.COMPLETE)) == []


def test_other_code_is_refused_and_both_are_named(begun, url):
    left(begun, revision="0.0.9+00000000")
    with pytest.raises(UserError, match=r"was started with, 0\.0\.9\+00000000, got 0\.1\.0\+\w{8}; install"):
        join.join(url, "x", "", False, print)
    said = []
    assert join.join(url, "", "", False, said.append) == 0  # one that serves all says so and goes on
    assert "not joined: Expected the code" in said[0]


def test_another_tracking_store_is_refused(begun, url):
    left(begun, parent=["0" * 32, "0"])
    with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI to the one"):
        join.join(url, "x", "", False, print)


def test_names_have_to_be_of_one_sweep(begun, url):
    with pytest.raises(
        UserError, match="Expected a study named 'y' in this database, found others: known: x-1234-abcd"
    ):
        join.join(url, "y", "", False, print)
    opened = study.open_study(storage.open_storage(url), "x-9876-abcd", begun.experiment, maximize=True)
    with pytest.raises(
        UserError, match="with which 2 begin, sweeps of different settings or data: x-1234-abcd, x-9876"
    ):
        join.join(url, "x", "", False, print)
    with pytest.raises(UserError, match="Expected a sweep of this platform, got the study x-9876-abcd"):
        join.join(url, opened.study_name, "", False, print)

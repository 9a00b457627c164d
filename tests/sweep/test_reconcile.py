"""Optuna's and MLflow's sides of sweeps whose trials are trained by nobody: what was lost on one side, or left open."""

import os
from types import SimpleNamespace

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from cellml.sweep import objective, queue, reconcile, session, space, storage, study
from cellml.tracking import orphans, runs

DEAD = {"pid": 2**22 + 1, "started": 0.0}  # above the largest number of a process


@pytest.fixture
def dataset():
    return SimpleNamespace(manifest=SimpleNamespace(digest="0123456789abcdef"))


@pytest.fixture
def swept(workspace, opened, experiment, dataset, monkeypatch):
    """A parent run with three trials of a plan of four that ended, scores 0.5, 0.6, 0.7."""
    scores = iter([0.5, 0.6, 0.7, 0.8])
    monkeypatch.setattr(objective.trials, "run", lambda *a, **k: SimpleNamespace(score=next(scores)))
    planned = space.plan(experiment, 4)
    with runs.parent("sweep", experiment, tags={"cellml.study": "s"}) as parent:
        session.leave(opened, experiment, dataset, parent, None)
        queue.enqueue(opened, planned)
        for _ in range(3):
            objective.run_one(opened, planned, experiment, dataset, parent, progress=False)
        yield SimpleNamespace(study=opened, planned=planned, parent=parent, experiment=experiment)


def records(swept):
    return runs.trials(swept.parent.experiment_id, "s")


def again(swept):
    return reconcile.one(swept.study, swept.experiment, swept.parent)


def abandon(swept, run=True, **metrics):
    """The fourth trial is claimed by a process that is gone, with a run in which it logged something."""
    trial = queue.claim(swept.study, swept.planned)
    space.suggest(trial, swept.experiment)
    trial.set_user_attr("process", trial.user_attrs["process"] | DEAD)
    tags = {"cellml.study": "s", "cellml.trial": "3"} | reconcile.tags_of(trial)
    if not run:
        return trial, None
    made = MlflowClient().create_run(
        swept.parent.experiment_id, tags=tags | {"mlflow.parentRunId": swept.parent.id}, run_name="003"
    )
    left = runs.existing(made.info.run_id)
    left.metrics(metrics)
    trial.set_user_attr("run_id", left.id)
    return trial, left


def test_nothing_to_do_says_nothing_and_changes_nothing(swept):
    before = records(swept)
    assert again(swept) == []
    assert records(swept) == before


def test_a_dead_processes_trial_is_given_up_and_its_run_closed(swept):
    trial, left = abandon(swept)
    assert again(swept) == ["trials whose process is gone, given up to be run again: 1"]
    assert runs.record(left.id).status == "KILLED"
    assert "ended without notice" in runs.record(left.id).tags["cellml.reason"]
    assert queue.stored(swept.study, trial).state == TrialState.FAIL
    assert queue.enqueue(swept.study, swept.planned) == 1
    assert again(swept) == []


def test_a_run_that_its_trial_does_not_know_yet_is_that_trials(swept):
    trial = queue.claim(swept.study, swept.planned)
    above = {"mlflow.parentRunId": swept.parent.id, "cellml.study": "s", "cellml.trial": str(trial.number)}
    run_id = MlflowClient().create_run(swept.parent.experiment_id, tags=above).info.run_id
    assert reconcile.close_orphans(swept.study, records(swept)) == []
    assert queue.interrupt(swept.study, trial, died=True)
    assert reconcile.close_orphans(swept.study, records(swept)) == [run_id]
    assert runs.record(run_id).status == "KILLED"


def test_a_trial_that_died_before_it_had_a_run_is_given_up(swept):
    trial, _ = abandon(swept, run=False)
    again(swept)
    assert queue.interrupted(queue.stored(swept.study, trial))


def test_a_trial_whose_run_had_everything_is_complete(swept):
    trial, left = abandon(swept, score=0.9)
    runs.close(left.id, "FINISHED")
    assert again(swept) == []
    kept = queue.stored(swept.study, trial)
    assert (kept.state, kept.value) == (TrialState.COMPLETE, 0.9)
    assert queue.enqueue(swept.study, swept.planned) == 0


@pytest.mark.parametrize(
    ("state", "value", "status"), [(TrialState.COMPLETE, 0.9, "FINISHED"), (TrialState.FAIL, None, "FAILED")]
)
def test_a_run_left_open_ends_as_its_trial_did(swept, state, value, status):
    trial, left = abandon(swept)
    if state == TrialState.FAIL:
        trial.set_user_attr("reason", "out of cells")
    swept.study.tell(trial.number, value, state=state)
    assert again(swept) == ["runs closed that no trial runs in: 1"]
    assert runs.record(left.id).status == status
    assert runs.record(left.id).tags.get("cellml.reason") == ("out of cells" if status == "FAILED" else None)


def test_a_run_whose_trial_runs_is_left_alone(swept):
    trial, left = abandon(swept)
    trial.set_user_attr("process", {"host": "elsewhere", "pid": 1, "started": 0.0})
    assert again(swept) == []
    assert runs.record(left.id).status == "RUNNING"


def test_a_trial_whose_run_is_gone_has_one_again(swept):
    lost = records(swept)[1]
    MlflowClient().delete_run(lost.id)
    assert again(swept) == [
        "trials that had lost their runs in MLflow, each with a run again that has its score alone: 1"
    ]
    (made,) = [record for record in records(swept) if "cellml.mirrored" in record.tags]
    assert (made.status, made.metrics["score"], made.tags["cellml.trial"]) == ("FINISHED", 0.6, "1")
    assert made.tags["cellml.key"] == lost.tags["cellml.key"]
    assert again(swept) == []


def test_a_lost_database_is_filled_from_mlflow(swept, url, tmp_path):
    os.remove(tmp_path / "optuna.db")
    fresh = study.open_study(storage.open_storage(url), "s", swept.experiment, maximize=True)
    lines = reconcile.one(fresh, swept.experiment, swept.parent)
    assert lines == ["trials that the Optuna database had lost, taken from their runs in MLflow: 3"]
    old = {t.user_attrs["key"]: t for t in queue.finished(fresh)}
    assert [old[p.key].value for p in swept.planned[:3]] == [0.5, 0.6, 0.7]
    assert {t.user_attrs["run_id"] for t in old.values()} == {r.id for r in records(swept)}
    assert all(old[p.key].params == p.params for p in swept.planned[:3])
    assert queue.enqueue(fresh, swept.planned) == 1  # only what was never run
    assert reconcile.one(fresh, swept.experiment, swept.parent) == []


def test_everything_reconciles_each_sweep_and_closes_commands_that_died(swept, url, workspace):
    _, left = abandon(swept)
    dead = MlflowClient().create_run(
        swept.parent.experiment_id,
        tags={"cellml.process": orphans.tag()["cellml.process"].replace(str(os.getpid()), "4194305")},
    )
    elsewhere = MlflowClient().create_run(
        swept.parent.experiment_id, tags={"cellml.process": '{"host": "elsewhere", "pid": 1, "started": 0}'}
    )
    optuna.create_study(study_name="not ours", storage=url)
    said = reconcile.everything(url)
    assert said == [
        "s: trials whose process is gone, given up to be run again: 1",
        "not ours: left alone, its sweep is not in the tracking store here",
        f"run {dead.info.run_id} closed: its process ended without notice",
    ]
    assert runs.status(left.id) == "KILLED"
    assert runs.status(swept.parent.id) == runs.status(elsewhere.info.run_id) == "RUNNING"
    assert reconcile.everything(url) == ["not ours: left alone, its sweep is not in the tracking store here"]

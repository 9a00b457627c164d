"""A trial that was interrupted, in a run of its own, and the one that goes on with it."""

import pytest
import torch
from mlflow import MlflowClient

from cellml import config, trial
from cellml.data.prepare import prepare
from cellml.sweep import objective, queue, register, space, study
from cellml.tracking import runs
from cellml.training import device
from tests.training.test_resume import Killed, interrupt, steps

EPOCHS = 4


@pytest.fixture(scope="module")
def experiment(shared_workspace):
    return config.parse(
        {
            "name": "cells",
            "data": {"source": "simulated", "group": "slide", "options": {"count": 240, "seed": 0, "size": 32}},
            "input": {"size": 32},
            "model": {"backbone": "test_resnet"},
            "train": {"device": "cpu", "threads": 1, "epochs": EPOCHS, "checkpoint": 0},
            "sweep": {"backbones": ["test_resnet"], "strategies": ["balanced"], "trials": 1},
            "explain": {"count": 0},
        }
    )


@pytest.fixture(scope="module")
def dataset(experiment):
    return prepare(experiment)


def history(run_id):
    client = MlflowClient()
    keys = ("train/loss", "val/loss", "val/balanced_accuracy", "lr")
    return {key: [(m.step, m.value) for m in client.get_metric_history(run_id, key)] for key in keys}


def places(dataset):
    return list((dataset.pixels.folder.parents[1] / "fits").glob("*"))


@pytest.mark.slow
def test_an_interrupted_trial_goes_on_in_another_run(experiment, dataset):
    with steps() as all_steps:
        whole = trial.run(experiment, dataset, run := made("whole"), progress=False)
    assert places(dataset) == []
    wanted, told = history(run.id), []

    def stop(step, value):
        if step == 2:
            raise Killed

    with pytest.raises(Killed):
        trial.run(experiment, dataset, made("stopped"), on_step=stop, progress=False)
    assert len(places(dataset)) == 1
    with steps() as left:
        done = trial.run(
            experiment, dataset, run := made("gone on"), on_step=lambda *step: told.append(step), progress=False
        )
    assert len(left) * 2 == len(all_steps)
    assert history(run.id) == wanted
    assert told == wanted["val/balanced_accuracy"][:EPOCHS]  # behind them that of the model that was kept
    assert done.score == whole.score
    some, others = done.classifier.state_dict(), whole.classifier.state_dict()
    assert all(torch.equal(some[name], others[name]) for name in others)
    assert places(dataset) == []


@pytest.mark.slow
def test_a_trial_that_is_told_to_stop_leaves_nothing(experiment, dataset):
    def stop(step, value):
        raise objective.Pruned

    with pytest.raises(objective.Pruned):
        trial.run(experiment, dataset, made("pruned"), on_step=stop, progress=False)
    assert places(dataset) == []


@pytest.mark.slow
def test_a_trial_that_is_queued_again_finds_where_it_was(experiment, dataset, tmp_path):
    opened = study.open_study(f"sqlite:///{tmp_path / 'optuna.db'}", "s", experiment, maximize=True)
    planned = space.plan(experiment, 1)
    queue.enqueue(opened, planned)
    given = (opened, planned, experiment, dataset, made("sweep"), False)
    total = -(-len(dataset.manifest.split("train")) // 32) * EPOCHS

    with pytest.raises(Killed), steps(total * 3 // 4, interrupt), device.threads(1):
        objective.run_one(*given)
    queue.enqueue(opened, planned)
    with steps() as left:
        objective.run_one(*given)
    assert len(left) <= total / 2
    done = queue.finished(opened, planned)[0]
    assert len(history(done.user_attrs["run_id"])["train/loss"]) == EPOCHS


@pytest.mark.slow
def test_an_interrupted_refit_goes_on(experiment, dataset):
    with steps() as all_steps:
        whole = register.refit(experiment, dataset, made("whole"), progress=False)
    with pytest.raises(Killed), steps(len(all_steps) * 3 // 4, interrupt):
        register.refit(experiment, dataset, made("stopped"), progress=False)
    with steps() as left:
        again = register.refit(experiment, dataset, made("gone on"), progress=False)
    assert len(left) <= len(all_steps) / 2
    assert again.history == whole.history
    assert places(dataset) == []


def made(name):
    client = MlflowClient()
    found = client.get_experiment_by_name("cells")
    number = found.experiment_id if found else client.create_experiment("cells")
    return runs.Run(client.create_run(number, run_name=name).info.run_id, number)

"""Mistakes in processes of their own, under `mlflow run` too; `tests/test_mistakes.py` has many more."""

import pytest

from tests.e2e.conftest import changed

pytestmark = pytest.mark.slow


def test_a_mistake_is_the_last_line_and_status_2(project):
    done = project.cellml("train", "--experiment", "tiny.yaml", "--model.backbone", "resnet10tt")
    assert done.returncode == 2, done.stdout
    assert done.stdout.splitlines()[-1].startswith("error: ")
    assert "did you mean 'resnet10t'" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout
    assert [r.info.status for r in project.all_runs()] == ["FAILED"]


def test_a_tracking_server_that_does_not_answer(project):
    done = project.cellml("data", "--experiment", "tiny.yaml", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 2
    assert "http://127.0.0.1:9" in done.stdout.splitlines()[-1]


def test_under_mlflow_run_the_line_stands_last_and_the_run_is_failed(project):
    bad = changed(project.folder, sweep={"backbones": ["resnet10tt"]})
    done = project.mlflow_run("sweep", "--experiment-name", "cells", experiment=bad)
    assert done.returncode == 1
    own = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(own) == 1
    after = done.stdout.split(own[0])[1]
    assert "resnet10tt" in own[0]
    assert "ERROR mlflow.cli" in after
    (run,) = project.runs("cells")
    assert run.info.status == "FAILED"
    assert "resnet10tt" in run.data.tags["cellml.reason"]


def test_a_failing_trial_is_recorded_and_the_sweep_goes_on(project):
    bad = changed(
        project.folder,
        sweep={
            "space": {"train.lr": [1.0e30, 0.003]},
            "backbones": ["test_resnet"],
            "strategies": ["none"],
            "trials": 2,
        },
        train={"lr": 0.003},
    )
    done = project.cellml("sweep", "--experiment", bad, "--explain.count", "0")
    assert done.returncode == 0, done.stdout
    trials = [r for r in project.runs("tiny") if r.data.tags.get("cellml.kind") == "trial"]
    states = {r.data.params["train.lr"]: r.info.status for r in trials}
    assert states == {"1e+30": "FAILED", "0.003": "FINISHED"}
    reasons = [r.data.tags["cellml.reason"] for r in trials if r.info.status == "FAILED"]
    assert all("loss" in reason for reason in reasons)

"""A mistake is one line that names what was expected, what came and what to do; no run stays RUNNING."""

import pytest
import yaml

from tests.e2e.conftest import TINY

pytestmark = pytest.mark.slow


def changed(project, **sections):
    tree = yaml.safe_load(TINY)
    for section, values in sections.items():
        tree.setdefault(section, {}).update(values)
    (project.folder / "bad.yaml").write_text(yaml.safe_dump(tree))
    return "bad.yaml"


def fails(project, words, *expected, **extra):
    done = project.cellml(*words, **extra)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert done.returncode == 2, done.stdout
    assert lines[-1].startswith("error: "), done.stdout
    assert "Traceback" not in done.stdout
    for text in expected:
        assert text in lines[-1]
    assert not [r for r in project.all_runs() if r.info.status == "RUNNING"]


def test_mistakes_before_any_image_is_read(project):
    fails(project, ["sweep", "--experiment", "absent.yaml"], "absent.yaml")
    fails(project, ["sweep", "--experiment", "tiny.yaml", "--trials", "-3"], "sweep.trials", "-3")
    fails(project, ["sweep", "--experiment", "tiny.yaml", "--trials", "many"], "sweep.trials", "many")
    fails(project, ["sweep", "--experiment", "tiny.yaml", "--train.lerning", "1"], "train.lerning")
    fails(project, ["sweep", "--experiment", changed(project, train={"lr": "fast"})], "train.lr", "fast")
    fails(project, ["swep"], "swep")
    fails(project, ["list", "stratgies"], "strategies")


def test_mistakes_in_the_data(project):
    folders = {"source": "folders", "options": {}, "path": "nowhere"}
    fails(project, ["sweep", "--experiment", changed(project, data=folders)], "nowhere")
    (project.folder / "cells.csv").write_text("file,stage\na.png,x\n")
    table = {"source": "table", "options": {}, "path": ".", "table": "cells.csv", "file": "file", "label": "label"}
    fails(project, ["data", "--experiment", changed(project, data=table)], "'label'", "stage")
    options = {"options": {"count": 100, "sede": 1}}
    fails(project, ["data", "--experiment", changed(project, data=options)], "sede", "seed")


def test_a_backbone_that_does_not_exist_is_refused_before_the_first_trial(project):
    bad = changed(project, sweep={"backbones": ["resnet10tt"]})
    fails(project, ["sweep", "--experiment", bad], "resnet10tt", "resnet10t")
    fails(project, ["sweep", "--experiment", changed(project, sweep={"strategies": ["smoot"]})], "smoot")
    misplaced = changed(project, sweep={"space": {"model.attention": ["none", "cbm@1"]}})
    fails(project, ["sweep", "--experiment", misplaced], "'cbm'", "did you mean 'cbam'")
    fails(project, ["train", "--experiment", "tiny.yaml", "--model.attention", "se@9"], "'se@9'", "stages 1 (")
    fails(project, ["train", "--experiment", changed(project, train={"monitor": "balanced_acc"})], "balanced_acc")
    fails(project, ["train", "--experiment", changed(project, train={"loss": "focl"})], "focal")


def test_models_that_are_not_registered(project):
    fails(project, ["compare", "--experiment", "tiny.yaml"], "tiny", "sweep")
    fails(project, ["predict", "--model", "models:/no@champion", "--images", "."], "no")
    fails(project, ["predict", "--model", "nonsense", "--images", "."], "models:/")


def test_a_tracking_server_that_does_not_answer(project):
    done = project.cellml("data", "--experiment", "tiny.yaml", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 2
    assert "http://127.0.0.1:9" in done.stdout.splitlines()[-1]


def test_under_mlflow_run_the_line_stands_last_and_the_run_is_failed(project):
    bad = changed(project, sweep={"backbones": ["resnet10tt"]})
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
        project,
        sweep={"space": {"train.lr": [1.0e30, 0.003]}, "strategies": ["none"], "trials": 6},
        train={"lr": 0.003},
    )
    done = project.cellml("sweep", "--experiment", bad)
    assert done.returncode == 0, done.stdout
    trials = [r for r in project.runs("tiny") if r.data.tags.get("cellml.kind") == "trial"]
    states = {r.data.params["train.lr"]: r.info.status for r in trials}
    assert states == {"1e+30": "FAILED", "0.003": "FINISHED"}
    reasons = [r.data.tags["cellml.reason"] for r in trials if r.info.status == "FAILED"]
    assert all("loss" in reason for reason in reasons)

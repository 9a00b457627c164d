"""A mistake is one line that names what was expected, what came and what to do; no run stays RUNNING."""

import functools
import sys

import pytest
from mlflow import MlflowClient

from cellml import cli
from tests.e2e import conftest


@pytest.fixture
def fails(workspace, monkeypatch, capsys):
    """A command that fails, in this process: its last line holds what is expected of it."""

    def fails(words, *expected):
        monkeypatch.setattr(sys, "argv", ["cellml", *words])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = "".join(capsys.readouterr())
        lines = [line for line in said.splitlines() if line.strip()]
        assert ended.value.code == 2, said
        assert lines[-1].startswith("error: "), said
        assert "Traceback" not in said
        for text in expected:
            assert text in lines[-1]
        client = MlflowClient()
        ids = [found.experiment_id for found in client.search_experiments()]
        assert not [r for r in client.search_runs(ids) if r.info.status == "RUNNING"]

    (workspace / "tiny.yaml").write_text(conftest.TINY)
    return fails


@pytest.fixture
def changed(workspace):
    return functools.partial(conftest.changed, workspace)


def test_before_any_image_is_read(fails, changed):
    fails(["sweep", "--experiment", "absent.yaml"], "absent.yaml")
    fails(["sweep", "--experiment", "tiny.yaml", "--trials", "-3"], "sweep.trials", "-3")
    fails(["sweep", "--experiment", "tiny.yaml", "--trials", "many"], "sweep.trials", "many")
    fails(["sweep", "--experiment", "tiny.yaml", "--train.lerning", "1"], "train.lerning")
    fails(["sweep", "--experiment", changed(train={"lr": "fast"})], "train.lr", "fast")
    fails(["swep"], "swep")
    fails(["list", "stratgies"], "strategies")


def test_in_the_data(fails, changed, workspace):
    fails(["sweep", "--experiment", changed(data={"source": "folders", "options": {}, "path": "nowhere"})], "nowhere")
    (workspace / "cells.csv").write_text("file,stage\na.png,x\n")
    table = {"source": "table", "options": {}, "path": ".", "table": "cells.csv", "file": "file", "label": "label"}
    fails(["data", "--experiment", changed(data=table)], "'label'", "stage")
    fails(["data", "--experiment", changed(data={"options": {"count": 100, "sede": 1}})], "sede", "seed")


def test_what_does_not_exist_is_refused_before_the_first_trial(fails, changed):
    fails(["sweep", "--experiment", changed(sweep={"backbones": ["resnet10tt"]})], "resnet10tt", "resnet10t")
    fails(["sweep", "--experiment", changed(sweep={"strategies": ["smoot"]})], "smoot")
    misplaced = changed(sweep={"space": {"model.attention": ["none", "cbm@1"]}})
    fails(["sweep", "--experiment", misplaced], "'cbm'", "did you mean 'cbam'")
    fails(["train", "--experiment", "tiny.yaml", "--model.attention", "se@9"], "'se@9'", "stages 1 (")
    fails(["train", "--experiment", changed(train={"monitor": "balanced_acc"})], "balanced_acc")
    fails(["train", "--experiment", changed(train={"loss": "focl"})], "focal")


def test_models_that_are_not_registered(fails):
    fails(["compare", "--experiment", "tiny.yaml"], "tiny", "sweep")
    fails(["predict", "--model", "models:/no@champion", "--images", "."], "no")
    fails(["predict", "--model", "nonsense", "--images", "."], "models:/")

import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from PIL import Image

from cellml.data.manifest import Manifest
from cellml.tracking import runs
from cellml.tracking.run import Run


@pytest.fixture
def run(store, experiment):
    with runs.parent("train", experiment) as run:
        yield run


@pytest.fixture
def manifest():
    ids = ["a", "b", "c"]
    table = pd.DataFrame(
        {"id": ids, "file": ids, "label": ["CD4+", "x", "x"], "group": ids, "split": "train", "pixels": "", "row": -1}
    )
    return Manifest(table, ("CD4+", "x"))


def stored(run):
    return MlflowClient().get_run(run.id)


def test_metrics_come_back_with_their_steps(run):
    run.metrics({"train/loss": 1.5}, step=0)
    run.metrics({"train/loss": np.float32(0.5)}, step=1)
    history = MlflowClient().get_metric_history(run.id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(0, 1.5), (1, 0.5)]


def test_metrics_of_awkward_classes_and_values(run):
    run.metrics({"recall_CD4+": 0.25, "recall_T/NK (a)": math.nan, "loss": math.inf}, prefix="val")
    metrics = stored(run).data.metrics
    assert metrics["val/recall_CD4-0x2B-"] == 0.25
    assert math.isnan(metrics["val/recall_T-0x2F-NK -0x28-a-0x29-"])
    assert metrics["val/loss"] > 1e300


def test_more_metrics_and_params_than_one_request_takes(run):
    run.metrics({f"m{i}": i for i in range(2100)})
    run.params({f"p{i}": i for i in range(250)})
    data = stored(run).data
    assert sum(data.metrics[f"m{i}"] == i for i in range(2100)) == 2100
    assert sum(data.params[f"p{i}"] == str(i) for i in range(250)) == 250


def test_params_logged_before_stay_and_long_ones_are_cut(run):
    run.params({"lr": 0.1, "options": {"a": [1, (2, 3)]}, "long": "x" * 10_000})
    run.params({"lr": 0.2, "more": None})
    params = stored(run).data.params
    assert params["lr"] == "0.1"
    assert params["more"] == "None"
    assert json.loads(params["options"]) == {"a": [1, [2, 3]]}
    assert params["long"] == "x" * 6000


def test_description_longer_than_a_tag_is_cut_at_a_line(run):
    run.description("short")
    assert stored(run).data.tags["mlflow.note.content"] == "short"
    run.description("\n".join(["| a row |"] * 2000))
    lines = stored(run).data.tags["mlflow.note.content"].split("\n")
    assert set(lines) == {"| a row |", "", "(cut here)"}
    assert len(lines) > 700


def test_artifacts_land_where_they_should(run, tmp_path):
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    run.figure(figure, "figures/line.png")
    run.text("héllo", "notes/a.txt")
    run.json({"a": np.float64(1.5)}, "data/report.json")
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "one.csv").write_text("1")
    run.file(folder / "one.csv", "tables")
    run.file(folder, "tables")
    with run.artifacts() as top:
        (top / "x").mkdir()
        (top / "x" / "y.txt").write_text("z")
    assert set(run.artifact_names()) == {"config.yaml", "figures", "notes", "data", "tables", "x"}
    assert set(run.artifact_names("tables")) == {"tables/one.csv", "tables/many"}
    assert run.download("notes/a.txt").read_text(encoding="utf-8") == "héllo"
    assert json.loads(run.download("data/report.json").read_text()) == {"a": 1.5}
    assert run.download("tables/many/one.csv").read_text() == "1"
    assert run.download("x/y.txt", tmp_path / "copy").parent.is_relative_to(tmp_path / "copy")
    assert np.asarray(Image.open(run.download("figures/line.png"))).ndim == 3


def test_artifacts_of_a_block_that_fails_are_not_stored(run):
    def write():
        with run.artifacts() as top:
            (top / "half.txt").write_text("")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert run.artifact_names() == ["config.yaml"]


def test_dataset_is_an_input_with_the_manifests_digest(run, manifest):
    run.dataset(manifest, "training", "cells", source="s3://bucket/cells")
    run.dataset(manifest.where([0]), "validation", "cells")
    inputs = {entry.tags[0].value: entry.dataset for entry in stored(run).inputs.dataset_inputs}
    assert inputs["training"].digest == manifest.digest
    assert inputs["validation"].digest != manifest.digest
    assert inputs["training"].name == "cells"
    assert "s3://bucket/cells" in inputs["training"].source
    assert json.loads(inputs["training"].profile)["num_rows"] == 3


def test_a_run_travels_to_another_process_by_its_ids(run):
    assert pickle.loads(pickle.dumps(run)) == Run(run.id, run.experiment_id) == run
    assert run.url() is None

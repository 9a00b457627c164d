"""The same over HTTP, against a real tracking server."""

import pytest

from cellml.models import classifier as classifiers
from cellml.tracking import environment, export, registry, runs
from cellml.tracking.names import model_name


@pytest.fixture(scope="module")
def server(tracking_server):
    return tracking_server.url


def test_a_study_over_http(server, tmp_path, experiment, monkeypatch, make_classifier, make_images, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path / "cache"))
    tags = {"cellml.study": "s"}
    with runs.parent("sweep", experiment, tags=tags) as first, runs.child(first, "t0", {"a": 1}, tags) as trial:
        for step in range(3):
            trial.metrics({"loss": step, "nan": float("nan")}, step=step, prefix="val")
        uri = export.log_classifier(trial, make_classifier(), make_images((2, 40, 40, 3)))
    with runs.parent("sweep", experiment, tags=tags) as second:
        assert runs.adopt(second, "s") == [trial.id]
    record = runs.children(second)[0]
    assert (record.id, record.params, record.metrics["val/loss"]) == (trial.id, {"a": "1"}, 2)
    registry.register(uri, model_name("cells", "a/b"), {registry.EXPERIMENT: "cells"}, "champion")
    entry = registry.entries("cells", "champions")[0]
    assert entry.run_id == trial.id
    assert registry.predictor(entry.uri).predict(make_images((1, 50, 30, 3))).shape == (1, 3)
    assert classifiers.load(registry.weights_folder(entry.uri)).spec.classes == ("CD4+", "other", "é")
    page = f"{server}/#/experiments/{first.experiment_id}"
    assert trial.url() == f"{page}/runs/{trial.id}"
    assert environment.ui_hint(first.experiment_id)[1] == f"{page}?workflowType=machine_learning"
    assert capfd.readouterr().out == ""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

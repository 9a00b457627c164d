"""The main job through `mlflow run`: what is logged, registered, ranked, and what other code makes of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import balanced_accuracy_score

from cellml.compare.table import COLUMNS
from cellml.data.manifest import Manifest
from cellml.evaluation.predictions import Predictions

pytestmark = pytest.mark.slow
CELLS = {(b, s) for b in ("test_resnet", "test_efficientnet") for s in ("none", "balanced")}


def parent_and_children(project):
    runs = project.runs("cells")
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags and r.data.tags["cellml.kind"] == "main"]
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, children


def artifact(project, run, path):
    return project.client.download_artifacts(run.info.run_id, path)


def test_the_run_of_mlflow_run_is_the_parent_of_a_trial_a_cell(finished):
    parent, children = parent_and_children(finished)
    assert {r.info.status for r in [parent, *children]} == {"FINISHED"}
    assert {(r.data.tags["cellml.backbone"], r.data.tags["cellml.strategy"]) for r in children} == CELLS
    assert parent.data.params["experiment"] == "tiny.yaml"
    assert parent.data.params["train.lr"] == "0.003"
    assert all(r.data.params["model.backbone"] == r.data.tags["cellml.backbone"] for r in children)
    digests = {d.dataset.digest for d in parent.inputs.dataset_inputs}
    assert len(digests) == 3  # training, validation, testing
    assert len(parent.data.tags["cellml.dataset_digest"]) == 32


def test_a_trial_logs_curves_figures_heatmaps_predictions_and_weights(finished):
    _, children = parent_and_children(finished)
    run = children[0]
    history = finished.client.get_metric_history(run.info.run_id, "val/balanced_accuracy")
    assert [m.step for m in history] == [1, 2, 3]  # two epochs, then the model that is kept
    for path in (
        "figures/val_confusion.png",
        "figures/val_mistakes.png",
        "figures/learning_curves.png",
        "heatmaps/gradcam/metaphase.png",
        "heatmaps/gradcam.npz",
        "weights/weights.safetensors",
        "weights/model.json",
    ):
        assert artifact(finished, run, path)
    for child in children:
        predictions = Predictions.load(artifact(finished, child, "predictions/val.parquet"))
        expected = balanced_accuracy_score(predictions.targets, predictions.predicted)
        assert child.data.metrics["val/balanced_accuracy"] == pytest.approx(expected)
    assert not any(name.startswith("test/") for name in run.data.metrics)


def test_no_group_is_in_two_splits_and_the_report_is_there(finished):
    parent, _ = parent_and_children(finished)
    manifest = Manifest.load(artifact(finished, parent, "data/manifest.parquet"))
    assert manifest.table.groupby("group")["split"].nunique().max() == 1
    assert set(manifest.table["split"]) == {"train", "val", "test"}
    assert manifest.digest == parent.data.tags["cellml.dataset_digest"]
    assert json.loads(Path(artifact(finished, parent, "data/report.json")).read_text())
    assert artifact(finished, parent, "sweep/history.png")
    assert artifact(finished, parent, "sweep/optuna.html")


def test_a_version_a_cell_a_champion_a_backbone_and_the_best_of_all(finished):
    client = finished.client
    scores = {}
    for backbone in ("test_resnet", "test_efficientnet"):
        versions = client.search_model_versions(f"name = 'tiny.{backbone}'")
        assert {v.tags["cellml.strategy"] for v in versions} == {"none", "balanced"}
        best = max(versions, key=lambda v: float(v.tags["cellml.validation_score"]))
        champion = client.get_model_version_by_alias(f"tiny.{backbone}", "champion")
        assert float(champion.tags["cellml.validation_score"]) == float(best.tags["cellml.validation_score"])
        scores[backbone] = float(best.tags["cellml.validation_score"])
    top = client.get_model_version_by_alias("tiny", "champion")
    assert float(top.tags["cellml.validation_score"]) == max(scores.values())


def test_the_benchmark_is_written_ranked_and_shown(finished):
    parent, _ = parent_and_children(finished)
    table = pd.read_csv(artifact(finished, parent, "benchmark/table.csv"))
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    further = table.columns.drop(list(COLUMNS))
    assert {c for c in further if c.startswith("recall_") and not c.endswith("_thresholded")} == {
        f"recall_{name}" for name in ("interphase", "prophase", "metaphase", "anaphase", "telophase")
    }
    assert table["model"].iloc[-1] == "majority class"
    ranked = table["balanced_accuracy"].iloc[:-1]
    assert ranked.is_monotonic_decreasing
    inside = table["balanced_accuracy"].between(table["balanced_accuracy_low"], table["balanced_accuracy_high"])
    assert inside.iloc[:-1].all()
    manifest = Manifest.load(artifact(finished, parent, "data/manifest.parquet"))
    assert set(table["test_digest"].iloc[:-1]) == {manifest.split("test").digest}
    assert "majority class" in parent.data.tags["mlflow.note.content"]
    assert "majority class" in finished.client.get_registered_model("tiny.test_resnet").description
    report = Path(artifact(finished, parent, "benchmark/report.html")).read_text()
    assert "data:image/png;base64" in report
    log = (finished.folder / "main.log").read_text()
    assert "mlflow ui" in log
    assert "models:/tiny@champion" in log
    assert "workflowType=machine_learning" in log


CONSUMER = """
model = mlflow.pyfunc.load_model("models:/tiny@champion")
shapes = []
for shape in ((1, 32, 32), (4, 32, 32), (9, 32, 32), (4, 100, 90)):
    p = model.predict(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    assert abs(p.sum(1) - 1).max() < 1e-5 and (p >= 0).all()
    shapes.append(list(p.shape))
print(json.dumps([shapes, model.metadata.metadata["classes"], sorted(set(sys.modules) & Refuse.names)]))
"""


def test_other_code_loads_the_champion_with_only_mlflow_and_torch(finished):
    shapes, classes, imported = json.loads(finished.consume(CONSUMER).splitlines()[-1])
    assert shapes == [[1, 5], [4, 5], [9, 5], [4, 5]]
    assert classes == ["interphase", "prophase", "metaphase", "anaphase", "telophase"]
    assert imported == []


def test_predict_writes_a_table_and_skips_what_is_no_image(finished):
    images = finished.folder / "new"
    images.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a", (32, 32, 3)), ("b", (50, 41, 3)), ("c", (32, 32, 3))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(images / f"{name}.png")
    (images / "broken.png").write_bytes(b"no image")
    Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(images / "gray.png")
    done = finished.mlflow_run("predict", model="models:/tiny@champion", images=str(images), out="out.csv")
    assert done.returncode == 0, done.stdout
    table = pd.read_csv(finished.folder / "out.csv")
    assert list(table["file"]) == ["a.png", "b.png", "c.png"]
    probabilities = table.filter(like="p_")
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (
        probabilities.columns[probabilities.to_numpy().argmax(1)].str.removeprefix("p_") == table["predicted"]
    ).all()
    assert "broken.png" in done.stdout
    assert "gray.png with 1 channels" in done.stdout
    done = finished.cellml("predict", "--model", "models:/tiny@champion", "--images", "new", "--out", "new")
    assert done.returncode == 2
    assert "can be written at new" in done.stdout


def test_explain_data_and_compare_of_chosen_entries(finished):
    done = finished.mlflow_run("explain", model="models:/tiny@champion", methods="gradcam,occlusion", count="2")
    assert done.returncode == 0, done.stdout
    (run,) = [r for r in finished.all_runs() if r.data.tags.get("cellml.kind") == "explain"]
    assert artifact(finished, run, "heatmaps/occlusion/anaphase.png")
    done = finished.mlflow_run("data", experiment="tiny.yaml")
    assert done.returncode == 0, done.stdout
    assert "train:" in done.stdout
    elsewhere = {"compare.external": "{other: {source: simulated, options: {count: 60, seed: 5, size: 24}}}"}
    done = finished.mlflow_run("compare", experiment="tiny.yaml", entries="cells", **elsewhere)
    assert done.returncode == 0, done.stdout
    assert "other: 60 images" in done.stdout
    assert "24 pixels a side, training images 32" in done.stdout
    (run,) = [r for r in finished.all_runs() if r.data.tags.get("cellml.kind") == "compare"]
    table = pd.read_csv(artifact(finished, run, "benchmark/table.csv"))
    assert len(table) == len(CELLS) + 1
    assert table["other_balanced_accuracy"].notna().all()
    assert (table[["gmacs", "ms_batch_1", "ms_batch_64", "mb_batch_1", "mb_batch_64"]].iloc[:-1] > 0).all(axis=None)
    assert len(pd.read_csv(artifact(finished, run, "benchmark/other.csv"))) == len(table)


def test_the_same_command_again_runs_nothing_and_registers_nothing_new(finished):
    before = {v.name: v.version for v in finished.client.search_model_versions()}
    trials = len(parent_and_children(finished)[1])
    done = finished.mlflow_run("sweep", "--experiment-name", "cells", experiment="tiny.yaml")
    assert done.returncode == 0, done.stdout
    assert {v.name: v.version for v in finished.client.search_model_versions()} == before
    newest = finished.runs("cells")[-1] if finished.runs("cells")[-1].data.tags["cellml.kind"] == "sweep" else None
    assert newest is not None
    adopted = [r for r in finished.runs("cells") if r.data.tags.get("mlflow.parentRunId") == newest.info.run_id]
    assert len(adopted) == trials == len(CELLS)

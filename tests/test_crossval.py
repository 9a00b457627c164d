"""Cross-validation through the commands, on wells dealt from pictures: mixtures, recipes, one registered ensemble."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image
from sklearn.metrics import accuracy_score

from cellml import commands, config, crossval, records
from cellml import trial as trials
from cellml.data.prepare import prepare
from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions
from cellml.models import ensemble as models
from cellml.tracking import registry
from cellml.training import folds

RECIPES = {
    "M1": [{"method": "pure"}],
    "M3": [{"method": "pure"}, {"method": "smote", "space": "pixels", "k": 2}],
    "M5": [{"method": "enn", "k": 1, "target": ["mixed"]}, {"method": "random_over", "target": ["mixed"]}],
}


@pytest.fixture(scope="module")
def experiment(shared_workspace):
    """Images of noise, brighter or darker by class: 60 bright, 40 dark and 30 grey ones."""
    rng = np.random.default_rng(0)
    for name, mean, count in (("bright", 170, 60), ("dark", 70, 40), ("grey", 120, 30)):
        (shared_workspace / "images" / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.normal(mean, 25, (24, 24, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(shared_workspace / "images" / name / f"{number:02}.png")
    return config.parse(
        {
            "name": "wells",
            "data": {
                "source": "wells",
                "path": str(shared_workspace / "images"),
                "options": {
                    "pure": 24, "cells": 6, "replicates": 3, "ratios": ["1:1"], "pairs": [["bright", "dark"]],
                    "test": 0.3,
                },
            },
            "input": {"size": 24},
            "model": {"backbone": "test_resnet"},
            "sampling": {"strategy": "M3", "recipes": RECIPES, "pixels": 4},
            "train": {
                "device": "cpu", "threads": 1, "epochs": 2, "steps": 3, "monitor": "accuracy", "loss": "mse",
                "folds": 3,
            },
            "explain": {"count": 1},
            "compare": {"resamples": 100, "metric": "accuracy"},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def crossed(experiment):
    commands.crossval(experiment)
    client = MlflowClient()
    found = client.get_experiment_by_name("wells")
    (run,) = client.search_runs([found.experiment_id])
    return client, run


def artifact(crossed, path):
    client, run = crossed
    return client.download_artifacts(run.info.run_id, path)


def test_folds_are_metrics_of_one_run(crossed):
    client, run = crossed
    history = client.get_metric_history(run.info.run_id, "fold/accuracy")
    assert [m.step for m in history] == [1, 2, 3]
    values = [m.value for m in history]
    assert run.data.metrics["val/accuracy"] == pytest.approx(np.mean(values))
    assert run.data.metrics["val/accuracy_sd"] == pytest.approx(np.std(values, ddof=1))
    table = pd.read_csv(artifact(crossed, "folds.csv"))
    assert table["accuracy"].tolist() == pytest.approx(values)
    assert run.info.status == "FINISHED"
    assert run.data.tags["cellml.kind"] == "crossval"


def test_out_of_fold_predictions_leave_the_class_of_mixed_cells_unknown(crossed, experiment):
    manifest = prepare(experiment).manifest
    rows = manifest.split("train", "val")
    oof = Predictions.load(artifact(crossed, "predictions/oof.parquet"))
    assert oof.ids.tolist() == rows.ids.tolist()
    assert (oof.targets[rows.mixed] == -1).all()
    known = oof.targets >= 0
    _, run = crossed
    expected = accuracy_score(oof.targets[known], oof.predicted[known])
    assert run.data.metrics["oof/accuracy"] == pytest.approx(expected)
    expected = np.sqrt(((oof.probabilities - rows.soft_targets) ** 2).sum() / len(rows))
    assert run.data.metrics["oof/rmse"] == pytest.approx(expected)


def test_what_a_strategy_made_is_logged(crossed):
    counts = json.loads(Path(artifact(crossed, "data/class_counts.json")).read_text())
    assert len(counts) == 3
    for fold in counts:
        assert fold["before"]["bright:dark 1:1"] > 0
        assert fold["after"]["bright:dark 1:1"] == 0
        assert len({fold["after"][name] for name in ("bright", "dark", "grey")}) == 1
    sheet = np.asarray(Image.open(artifact(crossed, "data/synthetic.png")))
    assert sheet.std() > 10


def test_the_folds_networks_are_registered_as_one_model_that_ranks(crossed, experiment, capsys):
    client, run = crossed
    version = client.get_model_version("wells.test_resnet", "1")
    assert version.tags["cellml.strategy"] == "M3"
    assert version.run_id == run.info.run_id
    saved = models.load(registry.weights_folder("models:/wells.test_resnet/1"))
    assert saved.spec.weights == pytest.approx([1 / 3] * 3)
    manifest = prepare(experiment).manifest
    assert saved.spec.digest == manifest.split("train", "val").digest
    commands.compare(experiment.replace({"compare.entries": "all"}))
    printed = capsys.readouterr().out
    assert "wells.test_resnet" in printed
    (found,) = client.search_runs([run.info.experiment_id], "tags.`cellml.kind` = 'compare'")
    table = pd.read_csv(client.download_artifacts(found.info.run_id, "benchmark/table.csv"))
    test = Predictions.load(artifact(crossed, "predictions/test.parquet"))
    first = table.iloc[0]
    assert first["n"] == len(manifest.split("test"))
    assert first["accuracy"] == pytest.approx(run.data.metrics["test/accuracy"])
    assert first["composition_rmse"] == pytest.approx(run.data.metrics["test/composition_rmse"])
    assert (test.targets == -1).sum() == 6


def test_an_interrupted_cross_validation_continues_and_leaves_nothing_behind(experiment, monkeypatch):
    own = experiment.replace({"name": "again", "train.epochs": 1, "explain.count": 0})
    with monkeypatch.context() as patched:
        patched.setattr(records, "log_fits", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            commands.crossval(own)
    monkeypatch.setattr(folds, "fit", None)  # nothing is left to fit
    commands.crossval(own)
    runs = MlflowClient().search_runs([MlflowClient().get_experiment_by_name("again").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "KILLED"]
    assert not list(prepare(own).pixels.folder.glob("folds/*"))


def test_the_gain_over_the_best_single_network_has_an_interval(crossed):
    _, run = crossed
    table = pd.read_csv(artifact(crossed, "crossval/test.csv")).set_index("metric")
    assert {"accuracy", "rmse", "composition_rmse"} <= set(table.index)
    for name, row in table.iterrows():
        assert row["ensemble"] == pytest.approx(run.data.metrics[f"test/{name}"])
        assert row["single_mean"] == pytest.approx(run.data.metrics[f"test_single/{name}"])
        sign = -1 if name in ("rmse", "composition_rmse") else 1
        assert row["gain"] == pytest.approx(sign * (row["ensemble"] - row["best_single"]))
        assert row["gain_low"] <= row["gain_high"]


def test_table_against_brute_force():
    rng = np.random.default_rng(0)
    n = 60
    targets = rng.integers(0, 2, n)
    groups = np.array([f"g{i // 3}" for i in range(n)], dtype=object)

    def said(skill):
        p = 1 / (1 + np.exp(-(skill * (2 * targets - 1) + rng.normal(0, 1, n))))
        return Predictions(
            np.arange(n).astype(str).astype(object), targets, np.stack([1 - p, p], 1), groups, ("a", "b")
        )

    singles, together = [said(0.2), said(0.6), said(0.4)], said(2)
    row = crossval.table(singles, 1, together, resamples=4000).set_index("metric").loc["accuracy"]
    scores = [accuracy_score(targets, one.predicted) for one in singles]
    assert row["single_mean"] == pytest.approx(np.mean(scores))
    assert row["single_sd"] == pytest.approx(np.std(scores, ddof=1))
    right = (together.predicted == targets).astype(float) - (singles[1].predicted == targets)
    assert row["gain"] == pytest.approx(right.mean())
    sums = right.reshape(-1, 3).sum(axis=1)
    drawn = rng.integers(0, 20, (20000, 20))
    low, high = np.percentile(sums[drawn].sum(axis=1) / n, [2.5, 97.5])
    assert row["gain_low"] == pytest.approx(low, abs=0.03)
    assert row["gain_high"] == pytest.approx(high, abs=0.03)


def test_composition_of_mixed_wells_is_logged(crossed, experiment):
    manifest = prepare(experiment).manifest.split("test")
    shares = pd.read_csv(artifact(crossed, "composition/test.csv"))
    assert set(shares["group"]) == set(manifest.groups)
    (mixed,) = set(manifest.groups[manifest.mixed])
    of_well = shares[shares["group"] == mixed].set_index("class")
    assert of_well["true"].to_dict() == {"bright": 0.5, "dark": 0.5, "grey": 0}
    test = Predictions.load(artifact(crossed, "predictions/test.parquet"))
    said = test.probabilities[test.groups == mixed].mean(axis=0)
    assert of_well.loc[list(test.classes), "predicted"].tolist() == pytest.approx(said.tolist())
    assert (of_well["low"] <= of_well["predicted"]).all()
    errors = pd.read_csv(artifact(crossed, "composition/test_errors.csv")).set_index("estimate")
    _, run = crossed
    assert errors.loc["predicted", "rmse_population"] == pytest.approx(run.data.metrics["test/composition_rmse"])
    assert np.isfinite(errors["rmse_population"].drop("adjusted_count")).all()
    assert artifact(crossed, "figures/test_composition.png")


def test_an_option_that_no_strategy_of_a_sweep_takes(experiment):
    wrong = experiment.replace({"sampling.options": {"kk": 3}})
    with pytest.raises(UserError, match=r"Unknown option 'kk' in sampling.options: none of the strategies"):
        trials.check(wrong, strategies=["none", "smote", "M1"])
    right = experiment.replace({"sampling.options": {"k": 3}})
    trials.check(right, strategies=["none", "smote", "M1"])

"""Through the commands, on simulated cells: two registered models become one, which compares and explains like any."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from cellml import commands, config, ensemble
from cellml.data.prepare import prepare
from cellml.errors import UserError
from cellml.evaluation import thresholds
from cellml.evaluation.predictions import Predictions
from cellml.models import classifier as classifiers
from cellml.models import ensemble as models
from cellml.models.classifier import Spec
from cellml.models.ensemble import Ensemble
from cellml.tracking import export, registry, runs

EXPERIMENT = {
    "name": "cells",
    "data": {"source": "simulated", "options": {"count": 90, "size": 32, "slides": 12}},
    "input": {"size": 32},
    "model": {"backbone": "test_resnet"},
    "train": {"device": "cpu", "threads": 1, "monitor": "accuracy"},
    "explain": {"count": 1},
    "compare": {"resamples": 100},
}
MEMBERS = {"test_resnet": {"tta": "d4"}, "test_efficientnet": {"size": 40, "crop": 28}}


@pytest.fixture(scope="module")
def experiment(shared_workspace):
    return config.parse(EXPERIMENT)


@pytest.fixture(scope="module")
def dataset(experiment):
    return prepare(experiment)


@pytest.fixture(scope="module")
def registered(experiment, dataset):
    """A champion a backbone of MEMBERS, with random weights: name -> classifier."""
    found = {}
    for backbone, values in MEMBERS.items():
        model = untrained(dataset, backbone, **values)
        with runs.parent("train", experiment) as run:
            uri = export.log_classifier(run, model, export.example_of(dataset))
        tags = {registry.EXPERIMENT: "cells", registry.BACKBONE: backbone, registry.STRATEGY: "none"}
        registry.register(uri, f"cells.{backbone}", tags, alias=registry.CHAMPION)
        found[backbone] = model
    return found


@pytest.fixture(scope="module")
def together(experiment, registered):
    """After the ensemble command: the registered version and its run."""
    commands.ensemble(experiment, "", "accuracy")
    entry = registry.resolve("models:/cells.ensemble@champion")
    return SimpleNamespace(entry=entry, run=runs.existing(entry.run_id))


def untrained(dataset, backbone="test_resnet", **values):
    torch.manual_seed(len(backbone))
    plain = {"low": (0.0,) * 3, "high": (255.0,) * 3, "mean": (0.2,) * 3, "std": (0.2,) * 3}
    known = {"classes": dataset.manifest.classes, "channels": 3, "dtype": "uint8", "size": 32, "crop": None, **plain}
    return classifiers.build(
        Spec(**known | {"backbone": backbone, "digest": dataset.manifest.split("train").digest} | values)
    ).eval()


def asked(model, dataset, split):
    images = np.stack(dataset.pixels.images(dataset.manifest.split(split).rows))
    with torch.no_grad():
        return model(torch.from_numpy(images)).numpy()


def test_the_weights_come_from_the_validation_rows_and_stand_in_a_table(together, registered, dataset):
    targets = dataset.manifest.split("val").targets
    scores = {name: accuracy_score(targets, asked(m, dataset, "val").argmax(1)) for name, m in registered.items()}
    assert len(set(scores.values())) == 2
    table = pd.read_csv(together.run.download("ensemble/weights.csv"), keep_default_na=False).set_index("backbone")
    assert sorted(table["model"]) == ["models:/cells.test_efficientnet/1", "models:/cells.test_resnet/1"]
    for name, score in scores.items():
        assert table["accuracy"][name] == pytest.approx(score)
        assert table["weight"][name] == pytest.approx(score / sum(scores.values()))
    assert set(table["warning"]) == {""}
    described = json.loads(together.run.download("weights/ensemble.json").read_text())
    assert described["weights"] == pytest.approx(list(table["weight"]))


def test_it_is_registered_like_any_other_model(together, dataset):
    entry = together.entry
    assert (entry.name, entry.version, entry.backbone, entry.strategy) == (
        "cells.ensemble",
        "1",
        "ensemble",
        "accuracy",
    )
    assert entry.aliases == ("champion",)
    assert entry.tags["cellml.experiment"] == "cells"
    assert entry.tags["cellml.monitor"] == "accuracy"
    assert entry.metadata["digest"] == dataset.manifest.split("train").digest
    assert entry.metadata["classes"] == list(dataset.manifest.classes)


def test_its_run_has_the_validation_metrics_of_the_weighted_mean(together, registered, dataset):
    share = json.loads(together.run.download("weights/ensemble.json").read_text())["weights"]
    by_place = [registered[b] for b in ("test_efficientnet", "test_resnet")]  # as `champions` orders them
    expected = np.average([asked(m, dataset, "val") for m in by_place], axis=0, weights=share)
    logged = Predictions.load(together.run.download("predictions/val.parquet"))
    np.testing.assert_allclose(logged.probabilities, expected, atol=1e-5)
    found = MlflowClient().get_run(together.run.id).data.metrics
    targets = dataset.manifest.split("val").targets
    assert found["val/accuracy"] == pytest.approx(accuracy_score(targets, expected.argmax(1)))
    assert found["val/balanced_accuracy"] == pytest.approx(balanced_accuracy_score(targets, expected.argmax(1)))
    assert float(together.entry.tags["cellml.validation_score"]) == pytest.approx(found["val/accuracy"], abs=1e-6)
    assert not [name for name in found if name.startswith("test/")]
    assert {"heatmaps/gradcam", "heatmaps/gradcam.npz"} <= set(together.run.artifact_names("heatmaps"))


def test_it_compares_and_explains_like_any_other_model(together, experiment, registered, dataset):
    commands.compare(experiment)
    (run,) = kind("compare")
    table = pd.read_csv(run.download("benchmark/table.csv")).set_index("model")
    rows = [name for name in table.index if "cells." in name]
    assert {name.split()[0] for name in rows} == {"cells.ensemble", *(f"cells.{name}" for name in MEMBERS)}
    (own,) = [name for name in rows if "ensemble" in name]
    sizes = [sum(p.numel() for p in model.parameters()) / 1e6 for model in registered.values()]
    assert table["params_m"][own] == pytest.approx(sum(sizes), abs=1e-3)
    share = json.loads(together.run.download("weights/ensemble.json").read_text())["weights"]
    by_place = [registered[b] for b in ("test_efficientnet", "test_resnet")]
    mean = np.average([asked(m, dataset, "test") for m in by_place], axis=0, weights=share)
    expected = balanced_accuracy_score(dataset.manifest.split("test").targets, mean.argmax(1))
    assert table["balanced_accuracy"][own] == pytest.approx(expected, abs=1e-6)
    commands.explain("models:/cells.ensemble@champion", experiment.replace({"explain.methods": ["gradcam"]}))
    (run,) = kind("explain")
    assert "heatmaps/gradcam.npz" in run.artifact_names("heatmaps")
    assert not [tag for tag in MlflowClient().get_run(run.id).data.tags if tag.startswith("cellml.heatmaps")]


def kind(name):
    client = MlflowClient()
    ids = [e.experiment_id for e in client.search_experiments()]
    return [runs.existing(r.info.run_id) for r in client.search_runs(ids, f"tags.`cellml.kind` = '{name}'")]


def test_the_models_are_the_champions_but_never_an_ensemble(together, experiment):
    found = ensemble.entries(experiment, "")
    assert [entry.name for entry in found] == ["cells.test_efficientnet", "cells.test_resnet"]
    named = ensemble.entries(experiment, "models:/cells.ensemble/1,models:/cells.test_resnet@champion")
    assert [entry.name for entry in named] == ["cells.ensemble", "cells.test_resnet"]


def test_one_model_is_no_ensemble(registered, experiment):
    for uris in ("models:/cells.test_resnet/1", "models:/cells.test_resnet/1,models:/cells.test_resnet@champion"):
        with pytest.raises(UserError, match=r"at least two different models .*got \['models:/cells.test_resnet/1'\]"):
            ensemble.entries(experiment, uris)


def test_models_that_are_none(registered, experiment):
    with pytest.raises(UserError, match="separated by commas, got 'cells'"):
        ensemble.entries(experiment, "cells")
    with pytest.raises(UserError, match=r"did you mean 'cells.test_resnet'"):
        ensemble.entries(experiment, "models:/cells.test_resnt/1,models:/cells.test_efficientnet/1")


def test_an_unknown_rule_is_refused_before_the_data_are_read(registered, experiment, monkeypatch):
    monkeypatch.setattr(commands, "prepare", None)
    with pytest.raises(UserError, match="did you mean 'mean'"):
        commands.ensemble(experiment, "", "maen")


@pytest.mark.parametrize(("key", "value"), [("classes", ("x", "y")), ("dtype", "uint16")])
def test_models_that_do_not_go_together_are_named(key, value, experiment, dataset, registered, monkeypatch, tmp_path):
    classifiers.save(registered["test_resnet"], tmp_path / "test_resnet")
    classifiers.save(untrained(dataset, **{key: value}), tmp_path / "test_efficientnet")
    monkeypatch.setattr(registry, "weights_folder", lambda uri: tmp_path / uri.split(".")[1].split("/")[0])
    chosen = ensemble.entries(experiment, "models:/cells.test_resnet/1,models:/cells.test_efficientnet/1")
    with pytest.raises(UserError, match=f"same {key}, .*cells.test_resnet/1 and .*cells.test_efficientnet/1"):
        ensemble.run(experiment, dataset, None, chosen, "mean", print)


class Exported:
    """In place of `export.log_classifier`: keeps what it is given and answers with a model that is logged already."""

    def __init__(self, uri):
        self.uri = uri

    def __call__(self, run, model, example, metadata=None):
        self.model, self.example = model, example
        return self.uri


@pytest.fixture
def exported(together, monkeypatch):
    stand_in = Exported(together.entry.source)
    monkeypatch.setattr(export, "log_classifier", stand_in)
    return stand_in


@pytest.fixture
def validation(together):
    return Predictions.load(together.run.download("predictions/val.parquet"))


def scored(predictions, right):
    """As many first rows right, the others wrong."""
    targets, classes = predictions.targets, len(predictions.classes)
    said = np.where(np.arange(len(targets)) < right, targets, (targets + 1) % classes)
    return replace(predictions, probabilities=np.eye(classes)[said])


def test_the_champion_is_the_best_on_validation(exported, together, experiment, dataset, registered, validation):
    def put(right, name="better", monitor="accuracy"):
        named = experiment.replace({"name": name, "train.monitor": monitor})
        members = list(registered.values())
        ensemble.register(named, dataset, members, [0.5, 0.5], scored(validation, right), together.run, "mean")
        return registry.resolve(f"models:/{name}.ensemble@champion").version

    assert [put(right) for right in (3, 2, 5, 5, 4)] == ["1", "1", "3", "4", "4"]
    assert put(1, monitor="f1_macro") == "6"  # nothing to compare it with
    assert [put(right, "lower", "log_loss") for right in (3, 2, 5)] == ["1", "1", "3"]


def test_what_is_exported(exported, together, experiment, dataset, registered, validation):
    own = experiment.replace({"name": "kept"})
    members = list(registered.values())
    ensemble.register(own, dataset, members, [0.25, 0.75], validation, together.run, "mean")
    spec = exported.model.spec
    assert (spec.weights, spec.strategy, spec.digest) == ((0.25, 0.75), "mean", members[0].spec.digest)
    assert spec.thresholds == thresholds.operating_threshold(validation)
    assert exported.example.shape == (2, 32, 32, 3)
    more = dataset.manifest.split("train", "val").digest
    for digest, expected in ((more, more), (dataset.manifest.digest, dataset.manifest.digest), ("f" * 32, "")):
        taken = [*members, untrained(dataset, digest=digest)]
        ensemble.register(own, dataset, taken, [0.25, 0.25, 0.5], validation, together.run, "mean")
        assert exported.model.spec.digest == expected


def test_members_that_saw_other_rows_are_warned_about(
    exported, together, experiment, dataset, registered, monkeypatch, tmp_path
):
    refitted = untrained(dataset, digest=dataset.manifest.split("train", "val").digest)
    models.save(Ensemble([registered["test_resnet"], refitted], [0.5, 0.5]), tmp_path / "test_resnet")
    classifiers.save(refitted, tmp_path / "test_efficientnet")
    monkeypatch.setattr(registry, "weights_folder", lambda uri: tmp_path / uri.split(".")[1].split("/")[0])
    said = []
    with runs.parent("ensemble", experiment) as run:
        quiet = experiment.replace({"name": "warned", "explain.count": 0})
        ensemble.run(quiet, dataset, run, ensemble.entries(experiment, ""), "mean", said.append)
    assert "cells.test_efficientnet/1" in said[0]
    assert "trained on the validation rows too" in said[0]
    assert "other rows than this experiment's training rows (digest unknown)" in said[1]
    table = pd.read_csv(run.download("ensemble/weights.csv"))
    assert table["warning"].str.contains("validation").all()
    assert exported.model.spec.weights == (0.5, 0.25, 0.25)

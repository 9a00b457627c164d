"""Through the commands, on simulated cells: weights without labels, and trainings of other classes that start there."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from cellml import commands, config
from cellml import trial as trials
from cellml.data.manifest import Manifest
from cellml.data.prepare import prepare
from cellml.errors import UserError
from cellml.models import classifier as classifiers
from cellml.tracking import registry, runs
from cellml.training import job

NAME = "models:/cells.test_resnet.pretrained@champion"
EXPERIMENT = {
    "name": "cells",
    "data": {"source": "simulated", "options": {"count": 120, "size": 32, "slides": 12}},
    "input": {"size": 32},
    "model": {"backbone": "test_resnet"},
    "train": {"device": "cpu", "threads": 1, "epochs": 1},
    "pretrain": {"epochs": 2, "batch_size": 32, "probe": 1, "width": 16},
    "explain": {"count": 0},
    "compare": {"resamples": 100},
}


@pytest.fixture(scope="module")
def experiment(shared_workspace):
    return config.parse(EXPERIMENT)


@pytest.fixture(scope="module")
def pretrained(experiment):
    """After the command: the registered version, its run and its weights."""
    commands.pretrain(experiment)
    entry = registry.resolve(NAME)
    weights = classifiers.load(registry.weights_folder(NAME))
    return SimpleNamespace(entry=entry, run=runs.existing(entry.run_id), model=weights)


def trunk(net):
    return {key: value for key, value in net.state_dict().items() if not key.startswith(("fc.", "hidden."))}


def test_its_run_shows_the_curves_and_the_probe_before_and_after(pretrained):
    info = MlflowClient().get_run(pretrained.run.id)
    assert info.data.params["pretrain.epochs"] == "2"
    assert info.data.tags["cellml.kind"] == "pretrain"
    probes = MlflowClient().get_metric_history(pretrained.run.id, "probe/balanced_accuracy")
    assert [m.step for m in probes] == [0, 1, 2]
    assert [m.step for m in MlflowClient().get_metric_history(pretrained.run.id, "train/loss")] == [1, 2]
    table = pd.read_csv(pretrained.run.download("pretraining.csv"))
    np.testing.assert_allclose(table["probe/balanced_accuracy"], [m.value for m in probes])
    assert info.data.metrics["val/balanced_accuracy"] == pytest.approx(probes[-1].value)
    assert "figures/pretraining.png" in pretrained.run.artifact_names("figures")


def test_it_stands_in_the_registry_as_weights_and_not_as_a_rival(experiment, pretrained):
    entry = pretrained.entry
    assert (entry.name, entry.backbone, entry.strategy) == ("cells.test_resnet.pretrained", "test_resnet", "vicreg")
    assert entry.tags[registry.PRETRAINED] == "vicreg"
    train = prepare(experiment).manifest.split("train")
    assert entry.metadata["earlier"] == []
    assert entry.metadata["digest"] == entry.tags["cellml.dataset_digest"] == train.digest
    for which in ("champions", "cells", "all"):
        with pytest.raises(UserError, match="found none"):
            registry.entries("cells", which)
    assert registry.entries("cells", entry.uri) == [registry.resolve(entry.uri)]


def merged(dataset):
    """The same images with two classes only, and the splits as they were."""
    table = dataset.manifest.table.copy()
    table["label"] = np.where(table["label"] == "interphase", "interphase", "mitosis")
    return Manifest(table, ("interphase", "mitosis"))


@pytest.mark.parametrize("mode", ["frozen", "head"])
def test_trainings_of_other_classes_start_from_it_and_say_so(experiment, pretrained, mode):
    own = experiment.replace({"model.weights": NAME, "model.mode": mode})
    dataset = prepare(experiment)
    train = merged(dataset).split("train")
    done = trials.training.fit(
        own, dataset, train=train, validation=merged(dataset).split("val"), progress=False,
        pretrained=trials.starting_point(own),
    )  # fmt: skip
    found = trunk(done.classifier.net)
    assert all(torch.equal(value, found[key]) for key, value in trunk(pretrained.model.net).items())
    assert done.classifier.spec.mean == pretrained.model.spec.mean
    assert done.classifier.spec.digest == train.digest
    assert done.classifier.spec.earlier == (pretrained.model.spec.digest,)
    rows = dataset.manifest.split("val")
    pixels = dataset.pixels.resized(None, 32, rows.rows)
    third = job.initial(experiment, rows, pixels, done.classifier).spec
    assert third.earlier == (train.digest, pretrained.model.spec.digest)


def test_a_training_starts_from_even_probabilities(experiment, pretrained):
    start = trials.starting_point(experiment.replace({"model.weights": NAME})).eval()
    images = torch.randint(0, 255, (2, 40, 40, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(start(images), torch.full((2, 5), 0.2))
        assert not torch.equal(pretrained.model(images), start(images))


def test_the_champion_is_the_version_with_the_best_probe(experiment, pretrained, monkeypatch, capsys):
    before = float(registry.resolve(NAME).tags["cellml.validation_score"])
    for probed, better in ((before - 0.1, False), (before + 0.1, True)):
        monkeypatch.setattr("cellml.pretraining.metrics.value", lambda name, _, probed=probed: probed)
        commands.pretrain(experiment)
        newest = registry.versions("cells.test_resnet.pretrained")[-1]
        assert float(newest.tags["cellml.validation_score"]) == pytest.approx(probed, abs=1e-6)
        assert (registry.resolve(NAME).version == newest.version) == better
        assert ("has the better probe and stays champion" in capsys.readouterr().out) != better

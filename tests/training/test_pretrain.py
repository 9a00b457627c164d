"""Pretraining looks at training images alone, learns, repeats exactly, and ends in a classifier."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.models import backbones
from cellml.training.predict import predict
from cellml.training.pretrain import pretrain
from tests.training.helpers import experiment

FAST = {"pretrain.epochs": 3, "pretrain.batch_size": 32, "pretrain.probe": 2, "pretrain.width": 32}


def run(dataset, **values):
    return pretrain(experiment(**FAST | values), dataset, progress=False)


@pytest.fixture(scope="module")
def done(tiny):
    return run(tiny)


def trunk(found):
    heads = tuple(f"{key}." for key, _ in backbones.last_layers(found.classifier.net))
    return {key: value for key, value in found.classifier.net.state_dict().items() if not key.startswith(heads)}


def assert_same(first, second):
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_epochs_are_recorded_from_before_the_first_and_probed_as_asked(tiny, done):
    assert len(done.history) == 4
    probed = [{key for key in record if key.startswith("probe/")} for record in done.history]
    assert probed[0] == probed[2] == probed[3] == {f"probe/{name}" for name in metrics.names(tiny.manifest.classes)}
    assert not probed[1]
    for record in done.history[1:]:
        loss = 25 * record["train/invariance"] + 25 * record["train/variance"] + record["train/covariance"]
        assert record["train/loss"] == pytest.approx(loss, rel=1e-4)
    assert done.history[0].keys() == probed[0]


def test_the_classifier_is_the_last_probe_and_knows_which_rows_it_saw(tiny, done):
    spec = done.classifier.spec
    assert (spec.digest, spec.strategy) == (tiny.manifest.split("train").digest, "vicreg")
    assert not done.classifier.training
    found = predict(done.classifier, tiny, tiny.manifest.split("val"), device="cpu")
    np.testing.assert_allclose(found.probabilities, done.validation.probabilities, atol=1e-4)
    last = done.history[-1]["probe/balanced_accuracy"]
    assert metrics.value("balanced_accuracy", done.validation) == pytest.approx(last)


def test_the_same_seed_repeats_it_and_the_backbone_never_sees_a_label_or_another_row(tiny, done):
    assert_same(trunk(run(tiny)), trunk(done))
    table = tiny.manifest.table.copy()
    inner = table["split"] == "train"
    table.loc[inner, "label"] = table.loc[inner, "label"].sample(frac=1, random_state=0).to_numpy()
    table.loc[~inner, "row"] = table.loc[~inner, "row"].to_numpy()[::-1]
    other = run(replace(tiny, manifest=Manifest(table, tiny.manifest.classes)))
    assert_same(trunk(other), trunk(done))
    assert other.history[-1]["probe/log_loss"] != done.history[-1]["probe/log_loss"]
    assert not torch.equal(trunk(run(tiny, **{"train.seed": 1}))["conv1.0.weight"], trunk(done)["conv1.0.weight"])


def test_views_become_alike_without_collapsing(tiny):
    found = run(tiny, **{"pretrain.epochs": 30, "pretrain.probe": 30, "pretrain.lr": 6e-3})
    first, last = found.history[1], found.history[-1]
    assert last["train/loss"] < 0.85 * first["train/loss"]
    assert last["train/variance"] < 0.9  # 2 of a collapse
    assert last["train/invariance"] < first["train/invariance"]


def test_few_rows_make_a_batch_all_the_same(tiny):
    assert np.isfinite(run(tiny, **{"pretrain.batch_size": 128, "pretrain.epochs": 1}).history[-1]["train/loss"])


def test_mistakes_are_told(tiny):
    with pytest.raises(UserError, match=r"pretrain\.augment: expected mixup and cutmix 0"):
        run(tiny, **{"pretrain.augment.mixup": 0.2})
    with pytest.raises(UserError, match=r"lower pretrain\.lr \(now 1e\+12\)"):
        run(tiny, **{"pretrain.lr": 1e12})

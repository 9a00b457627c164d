"""Fits on sequences as a whole."""

import numpy as np
import pytest
import torch

from cellml.data.timelines import timelines
from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.models import ensemble
from cellml.models.classifier import SequenceClassifier
from cellml.models.views import views
from cellml.training import frame_arrays
from cellml.training.fit import fit
from cellml.training.predict import predict
from tests.training import movies
from tests.training.helpers import experiment

SMALL = {
    "sequence.units": 16,
    "sequence.tracker.encoder": [4, 8],
    "sequence.tracker.hidden": [8, 8, 16],
    "sequence.tracker.decoder": [8, 4],
}


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return movies.dataset(tmp_path_factory.mktemp("discs"), tmp_path_factory.mktemp("cache"), count=16)


def settings(backbone="test_resnet+gru", **values):
    return experiment(**({"model.backbone": backbone, "train.batch_size": 2} | SMALL | values))


@pytest.fixture(scope="module")
def fitted(discs):
    rows = discs.manifest
    return fit(settings(**{"train.epochs": 12}), discs, train=rows.split("train"), validation=rows.split("val"))


def test_a_fit_learns_and_predicts_the_rows_in_their_order(discs, fitted):
    assert metrics.value("balanced_accuracy", fitted.validation) > 0.8
    again = predict(fitted.classifier, discs, discs.manifest.split("val"))
    np.testing.assert_allclose(again.probabilities, fitted.validation.probabilities, atol=1e-5)
    assert again.sequences.tolist() == discs.manifest.split("val").sequences.tolist()


def test_a_saved_model_says_the_same(discs, fitted, tmp_path):
    ensemble.save(fitted.classifier, tmp_path)
    loaded = ensemble.load(tmp_path)
    assert isinstance(loaded, SequenceClassifier)
    assert loaded.spec == fitted.classifier.spec
    rows = discs.manifest.split("test")
    expected = predict(fitted.classifier, discs, rows).probabilities
    np.testing.assert_array_equal(predict(loaded, discs, rows).probabilities, expected)


def test_a_fit_starts_from_a_fitted_model(discs, fitted):
    rows = discs.manifest
    further = fit(
        settings(**{"train.epochs": 1, "train.lr": 1e-12}),
        discs,
        train=rows.split("train"),
        validation=rows.split("val"),
        pretrained=fitted.classifier,
    )
    assert metrics.value("balanced_accuracy", further.validation) > 0.7  # batch statistics move by a step


def test_views_are_averaged_over(discs):
    rows = discs.manifest
    own = settings("tracker", **{"train.tta": "d4", "train.epochs": 1, "train.calibrate": True})
    done = fit(own, discs, train=rows.split("train"), validation=rows.split("val"))
    assert done.classifier.spec.temperature != 1
    clip = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 24, 24, 1)).astype(np.uint8))
    model = done.classifier
    with torch.no_grad():
        said = [model.logits(one).softmax(-1) for one in views(model.prepare(clip), "d4")]
        mean = torch.stack(said).mean(0).log()
        torch.testing.assert_close(model(clip), (mean / model.spec.temperature).softmax(-1), rtol=1e-4, atol=1e-5)
    assert len(said) == 8


def test_labels_may_be_found_on_the_way(discs):
    """Rows without labels, which `align` gives: nothing before the fit, log p of each sequence after each epoch."""
    rows = discs.manifest.split("train")
    blind = rows.with_column("label", np.full(len(rows), ""))
    truth = [rows.targets[places] for places in timelines(rows)]
    asked = []

    def align(said):
        asked.append(said)
        if said is None:
            return [np.full(len(one), 1) for one in truth[:-1]] + [np.zeros(len(truth[-1]), dtype=int)]
        return truth

    own = settings(**{"train.epochs": 12, "sequence.supervision": "transcripts"})
    done = fit(own, discs, train=blind, validation=discs.manifest.split("val"), align=align)
    assert metrics.value("balanced_accuracy", done.validation) > 0.8
    assert asked[0] is None
    assert len(asked) == 12
    for said, one in zip(asked[1], truth, strict=True):
        assert said.shape == (len(one), 3)
        np.testing.assert_allclose(np.exp(said).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("strategy", ["none", "class_weights"])
def test_new_labels_leave_each_class_its_weight(discs, strategy):
    rows = discs.manifest.split("train")
    first = torch.from_numpy(np.array(rows.targets))
    weights = (1 / torch.bincount(first).float())[first].numpy() if strategy == "class_weights" else None
    targets = torch.nn.functional.one_hot(first, 3).float()
    before = frame_arrays.load(
        rows, discs.pixels.resized(None, 24, rows.rows), targets, torch.device("cpu"), weights=weights
    )
    turned = torch.where(first == 0, 1, first)  # some of another class, none of the first
    turned[:2] = 0
    after = before.labelled(torch.nn.functional.one_hot(turned, 3).float())
    totals = torch.bincount(turned, after.weights, minlength=3)
    expected = torch.ones(3) if strategy == "class_weights" else torch.bincount(turned).float()
    torch.testing.assert_close(totals.float(), expected)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"sampling.strategy": "balanced"},
            "sampling.strategy one of none, class_weights, effective_weights .*balanced",
        ),
        ({"train.augment.mixup": 0.2}, "mixup and cutmix 0"),
        ({"model.mode": "frozen"}, "model.mode finetune .* got frozen"),
        ({"train.layer_decay": 0.5}, "train.layer_decay 1"),
        ({"train.auxiliary": 1.0}, "train.auxiliary 0"),
    ],
)
def test_what_sequences_are_not_trained_with_is_one_line(discs, values, said):
    rows = discs.manifest
    with pytest.raises(UserError, match=said) as caught:
        fit(settings(**values), discs, train=rows.split("train"), validation=rows.split("val"))
    assert "\n" not in str(caught.value)


def test_images_by_themselves_are_no_sequences(tiny, fitted):
    rows = tiny.manifest
    with pytest.raises(UserError, match=r"Expected frames of movies for model.backbone 'test_resnet\+gru'"):
        fit(settings(), tiny, train=rows.split("train"), validation=rows.split("val"))
    with pytest.raises(UserError, match="frames of movies for a model of sequences"):
        predict(fitted.classifier, tiny, rows.split("val"))

"""Predictions by the whole path against the classifier called on one image at a time."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from cellml.data.prepare import prepare
from cellml.errors import UserError
from cellml.models import classifier
from cellml.models.classifier import Spec
from cellml.training.predict import predict
from tests.training.helpers import experiment


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Images of three shapes, interleaved."""
    root, rng = tmp_path_factory.mktemp("mixed"), np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for i in range(12):
            shape = [(24, 24, 3), (30, 20, 3), (20, 30, 3)][i % 3]
            Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(root / name / f"{i:02}.png")
    return prepare(experiment(**{"data.path": str(root)}), tmp_path_factory.mktemp("cache"))


def model(tta="none", **fields):
    torch.manual_seed(0)
    three = (0.0,) * 3, (255.0,) * 3, (0.4,) * 3, (0.3,) * 3
    spec = Spec("test_resnet", ("a", "b"), 3, "uint8", 24, None, *three, tta=tta)
    return classifier.build(dataclasses.replace(spec, **fields))


@pytest.mark.parametrize("tta", ["none", "flips", "d4"])
def test_each_row_is_what_the_classifier_says_of_its_image(mixed, tta):
    net = model(tta).train()
    manifest = mixed.manifest.where(np.arange(len(mixed.manifest))[::-1])
    found = predict(net, mixed, manifest, batch_size=8, device="cpu")
    assert net.training
    assert found.ids.tolist() == manifest.ids.tolist()
    assert found.targets.tolist() == manifest.targets.tolist()
    assert found.groups.tolist() == manifest.groups.tolist()
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-12)
    net.eval()
    with torch.no_grad():
        single = [net(torch.from_numpy(mixed.pixels[row][None].copy()))[0].numpy() for row in manifest.rows]
    np.testing.assert_allclose(found.probabilities, single, atol=1e-5)


def test_batches_are_of_one_shape_and_bounded(mixed, monkeypatch):
    seen = []
    net = model()
    monkeypatch.setattr(net, "prepare", lambda x, own=net.prepare: seen.append(tuple(x.shape)) or own(x))
    predict(net, mixed, mixed.manifest, batch_size=5, device="cpu")
    assert sum(shape[0] for shape in seen) == 24
    assert max(shape[0] for shape in seen) <= 5
    assert {shape[1:] for shape in seen} == {(24, 24, 3), (30, 20, 3), (20, 30, 3)}
    seen.clear()
    monkeypatch.setattr("cellml.training.predict._PIXELS", 2 * 600)
    predict(net, mixed, mixed.manifest, batch_size=5, device="cpu")
    assert max(n * h * w for n, h, w, _ in seen) <= 2 * 600


def test_no_rows_give_no_predictions(mixed):
    assert len(predict(model(), mixed, mixed.manifest.where([]), device="cpu")) == 0


def test_other_classes_or_pixels_are_refused(mixed):
    with pytest.raises(UserError, match=r"classes \['b', 'a'\].*got \['a', 'b'\]"):
        predict(model(classes=("b", "a")), mixed, mixed.manifest)
    with pytest.raises(UserError, match="Expected 3-channel uint16 images as in training, got 3-channel uint8"):
        predict(model(dtype="uint16"), mixed, mixed.manifest)

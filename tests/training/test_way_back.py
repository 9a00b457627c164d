import numpy as np
import pytest
import torch

from cellml.models.ensemble import Ensemble
from cellml.training import way_back
from cellml.training.job import initial
from tests.training.helpers import experiment


@pytest.fixture
def classifier(tiny):
    def make(name, **options):
        settings = experiment(**{"model.backbone": name, "model.options": options})
        train = tiny.manifest.split("train")
        return initial(settings, train, tiny.pixels.resized(None, 24, train.rows), None)

    return make


def test_an_invertible_network_comes_back_and_others_have_no_way(tiny, classifier):
    rows, model = tiny.manifest.split("val"), classifier("iresnet", blocks=[1, 1], widths=[4, 6]).train()
    assert 0 < way_back.round_trip(model, tiny, rows, "cpu") < 1e-4
    assert model.training
    assert way_back.round_trip(classifier("test_resnet"), tiny, rows, "cpu") is None


def test_an_ensemble_is_as_exact_as_its_worst_member(tiny, classifier, monkeypatch):
    small = {"steps": [1], "widths": [4]}
    good, bad = classifier("coupling", **small), classifier("coupling", **small)
    monkeypatch.setattr(bad.net, "decode", lambda z: 0.5 * type(bad.net).decode(bad.net, z))
    found = way_back.round_trip(Ensemble([good, bad], [0.5, 0.5]), tiny, tiny.manifest.split("val"), "cpu")
    assert found == pytest.approx(0.5, abs=1e-4)


def test_what_is_made_of_images_is_in_their_values(tiny, classifier):
    rows, exact = tiny.manifest.split("val"), classifier("coupling", steps=[1], widths=[4]).train()
    images, made = way_back.made(exact, tiny, rows, "cpu")
    assert exact.training
    assert made.dtype == images.dtype == np.uint8
    np.testing.assert_array_equal(images, tiny.pixels.resized(None, 24, rows.rows))
    np.testing.assert_array_equal(made, images)
    blurred = classifier("autoencoder", widths=[4], latent=2)
    blurred.net.back[-1].bias.data[:] = torch.tensor([1e4, -1e4, 0.0])
    _, made = way_back.made(blurred, tiny, rows, "cpu")
    assert (made[..., 0] == 255).all()
    assert (made[..., 1] == 0).all()


def test_embeddings_are_what_the_last_layer_sees(tiny, classifier):
    rows, model = tiny.manifest.split("val"), classifier("autoencoder", widths=[4], latent=2, maps=False).train()
    found = way_back.embedded(model, tiny, rows, "cpu")
    assert model.training
    seen = torch.from_numpy(tiny.pixels.resized(None, 24, rows.rows)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = model.eval().net.encode(model.normalise(seen)).flatten(1)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

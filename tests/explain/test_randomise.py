import copy

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel
from scipy.stats import rankdata
from torch import nn

from cellml.explain import randomise
from cellml.explain.base import EXPLAINERS, Attribution, explain
from tests.explain.helpers import Linear, Pooled, built, fit_head, noise, planted, wrapped


@pytest.fixture
def edges(monkeypatch):
    """A method that looks at the image's edges and at nothing of the network."""

    def detector(classifier, prepared, classes):
        grey = prepared.mean(dim=1).numpy()
        return Attribution(np.hypot(sobel(grey, 1), sobel(grey, 2)), classes.numpy(), "edges")

    monkeypatch.setitem(EXPLAINERS._members, "edges", detector)


@pytest.fixture
def slope(monkeypatch):
    """The gradient of the logit, summed over channels."""

    def gradient(classifier, prepared, classes):
        given = prepared.clone().requires_grad_()
        with torch.enable_grad():
            total = classifier.logits(given).gather(1, classes[:, None]).sum()
        (found,) = torch.autograd.grad(total, given)
        return Attribution(found.sum(dim=1).numpy(), classes.numpy(), "slope")

    monkeypatch.setitem(EXPLAINERS._members, "slope", gradient)


def test_an_edge_detector_fails_and_gradients_pass(edges, slope):
    images, classes, _ = planted(24, 32, 8, seed=0)
    classifier = built("test_resnet", size=32, classes=2)
    fit_head(classifier, images, classes)
    assert randomise.randomisation("edges", classifier, images, classes) == pytest.approx(1)
    assert abs(randomise.randomisation("slope", classifier, images, classes)) < randomise.LIMIT / 2


def test_the_figure_is_the_median_of_rank_correlations(slope):
    classifier = built("test_resnet", size=24)
    images, classes = noise(5, 24), [0, 1, 2, 1, 0]
    first = explain("slope", classifier, images, classes).maps.reshape(5, -1)
    second = explain("slope", randomise.reinitialised(classifier, 3), images, classes).maps.reshape(5, -1)
    ranks = [rankdata(np.abs(maps), axis=1) for maps in (first, second)]
    wanted = [np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)]
    found = randomise.randomisation("slope", classifier, images, classes, 3)
    assert found == pytest.approx(np.median(wanted), abs=1e-6)
    assert randomise.randomisation("slope", classifier, images, classes, 4) != found


def test_known_maps_need_not_be_made_again(slope):
    classifier = built("test_resnet", size=24)
    images, classes = noise(3, 24), [0, 1, 2]
    known = explain("slope", classifier, images, classes)
    found = randomise.likeness(known, "slope", classifier, images, 3)
    assert found == randomise.randomisation("slope", classifier, images, classes, 3)


def test_a_seed_among_the_options_is_the_method_s_own(monkeypatch):
    def noisy(classifier, prepared, classes, *, seed=0):
        maps = np.random.default_rng(seed).random((len(prepared), 4, 4), dtype=np.float32)
        return Attribution(maps, classes.numpy(), f"noisy {seed}")

    monkeypatch.setitem(EXPLAINERS._members, "noisy", noisy)
    classifier = wrapped(Linear(3, 4, 3), size=4)
    assert randomise.randomisation("noisy", classifier, noise(2, 4), [0, 1], 1, seed=7) == pytest.approx(1)
    assert np.isnan(
        randomise.likeness(
            explain("noisy", classifier, noise(2, 4), [0, 1]), "noisy", classifier, noise(2, 4), 1, seed=7
        )
    )


def test_a_method_reads_the_layer_it_read_before(monkeypatch):
    classifier = wrapped(Pooled("NCHW"), size=16)
    images, seen = noise(2, 16), []
    method = EXPLAINERS["gradcam"]

    def watched(classifier, prepared, classes, *, layer=None, grid=7):
        seen.append((layer, grid))
        return method(classifier, prepared, classes, layer=layer, grid=grid)

    monkeypatch.setitem(EXPLAINERS._members, "gradcam", watched)
    assert np.isfinite(randomise.randomisation("gradcam", classifier, images, [0, 1], grid=4))
    assert seen == [(None, 4), ("body", 4)]


def test_maps_that_cannot_be_compared_say_nothing(monkeypatch):
    def attribution(maps, method="a"):
        return Attribution(np.asarray(maps, np.float32), np.zeros(len(maps), np.int64), method)

    rising = np.arange(8.0).reshape(2, 2, 2)
    flat = np.stack([rising[0], np.ones((2, 2))])
    assert np.isnan(randomise.similarity(attribution(rising), attribution(rising, "b"))).all()
    np.testing.assert_allclose(randomise.similarity(attribution(rising), attribution(-flat)), [1, np.nan])
    monkeypatch.setitem(EXPLAINERS._members, "flat", lambda c, x, k: attribution(np.ones((len(x), 4, 4))))
    assert np.isnan(randomise.randomisation("flat", wrapped(Linear(3, 4, 3), size=4), noise(2, 4), [0, 1]))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_everything_is_drawn_anew_and_the_original_stays(name):
    classifier = built(name)
    with torch.no_grad():
        for tensor in [*classifier.parameters(), *(b for b in classifier.net.buffers() if b.is_floating_point())]:
            tensor.copy_(torch.rand_like(tensor) + 0.1)
    before, state = copy.deepcopy(classifier.state_dict()), torch.get_rng_state()
    changed = randomise.reinitialised(classifier, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in changed.state_dict().items():
        assert torch.equal(classifier.state_dict()[key], before[key])
        assert value.numel() == 1 or not value.is_floating_point() or not torch.equal(value, before[key]), key
    again, other = randomise.reinitialised(classifier, seed=1), randomise.reinitialised(classifier, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(changed.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(changed.parameters(), other.parameters(), strict=True))
    assert torch.isfinite(changed.eval().logits(noise(2, 64))).all()


def test_signals_neither_die_nor_explode_in_a_deep_plain_network():
    layers = [m for _ in range(40) for m in (nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())]
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = wrapped(net, classes=8)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.mul_(1e-3)
    with torch.no_grad():
        out = randomise.reinitialised(classifier).eval().logits(torch.randn(4, 3, 16, 16))
    assert 0.01 < out.std() < 100


def test_weights_are_normal_of_he_and_shared_ones_stay_shared():
    net = nn.Sequential(nn.Conv2d(16, 200, 3), nn.BatchNorm2d(200, affine=False), nn.Linear(50, 50), nn.Linear(50, 50))
    net[3].weight = net[2].weight
    net[1].running_var.fill_(5.0)
    changed = randomise.reinitialised(wrapped(net)).net
    np.testing.assert_allclose(changed[0].weight.std().item(), (2 / 144) ** 0.5, rtol=0.02)
    assert changed[3].weight is changed[2].weight
    np.testing.assert_allclose(changed[2].weight.std().item(), (2 / 50) ** 0.5, rtol=0.05)
    assert (changed[1].running_var == 1).all()

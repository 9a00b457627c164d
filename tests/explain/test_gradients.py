import numpy as np
import pytest
import torch

from cellml.explain.base import explain, scores
from cellml.explain.gradients import strongest
from tests.explain.helpers import Additive, Linear, built, noise, wrapped


def derivative(classifier, images, classes, step=1e-2):
    """Central differences of the log-odds by every raw value, in double precision."""
    classifier = classifier.double()
    base = images.double()
    found = torch.zeros_like(base)
    for flat in range(base[0].numel()):
        change = torch.zeros(base[0].numel(), dtype=torch.float64)
        change[flat] = step
        change = change.reshape(base[0].shape)
        up, down = (classifier.logits(base + sign * change) for sign in (1, -1))
        rows, other = torch.arange(len(base)), 1 - classes
        odds = (up[rows, classes] - up[rows, other]) - (down[rows, classes] - down[rows, other])
        found[:, *np.unravel_index(flat, base[0].shape)] = odds / (2 * step)
    classifier.float()
    return found.detach().numpy()


def test_saliency_is_the_derivative_by_raw_values():
    classifier = wrapped(Additive(2, 6), classes=2, channels=2, size=6)
    images, classes = noise(2, 6, 2) / 255, torch.tensor([0, 1])
    got = explain("saliency", classifier, images, classes)
    wanted = derivative(classifier, images, classes, 1e-4)
    np.testing.assert_allclose(got.channels, wanted, atol=1e-4)
    largest = np.abs(wanted).argmax(axis=1)[:, None]
    np.testing.assert_allclose(got.maps, np.take_along_axis(wanted, largest, axis=1)[:, 0], atol=1e-4)


def test_the_strongest_channel_keeps_its_sign():
    channels = torch.tensor([[[[1.0, -3.0]], [[-2.0, 1.0]]]])
    assert strongest(channels).tolist() == [[[-2.0, -3.0]]]


@pytest.mark.parametrize("name", ["saliency", "smoothgrad"])
def test_of_a_linear_network_both_are_its_weights(name):
    classifier = wrapped(Linear(3, 8, 2), classes=2, size=8)
    images, classes = noise(3, 8) / 255, torch.tensor([0, 1, 1])
    weight = classifier.net.weight.detach()
    got = explain(name, classifier, images, classes)
    np.testing.assert_allclose(got.channels, (weight[classes] - weight[1 - classes]).numpy(), atol=1e-5)


def test_smoothgrad_is_the_mean_gradient_under_noise():
    """Of a sum of tanh the mean over Gaussian noise is an integral that Gauss-Hermite quadrature gives."""
    classifier = wrapped(Additive(1, 4), classes=2, channels=1, size=4)
    images = noise(2, 4, 1) / 255
    got = explain("smoothgrad", classifier, images, [1, 1], samples=4000, noise=0.5)
    weight = classifier.net.weight.detach().double().numpy()
    points, shares = np.polynomial.hermite_e.hermegauss(60)
    moved = images.double().numpy()[..., None] + 0.5 * points
    slopes = weight[..., None] * (1 - np.tanh(weight[..., None] * moved) ** 2)
    wanted = (slopes * shares).sum(axis=-1)[:, 0] / shares.sum()
    deviation = ((slopes**2 * shares).sum(axis=-1)[:, 0] / shares.sum() - wanted**2) ** 0.5
    np.testing.assert_array_less(np.abs(got.maps - wanted), 5 * deviation / 4000**0.5 + 1e-4)
    plain = explain("saliency", classifier, images, [1, 1]).maps
    assert np.abs(plain - wanted).max() > 10 * np.abs(got.maps - wanted).max()


def test_without_noise_smoothgrad_is_saliency():
    classifier, images = built("test_resnet", size=32), noise(2, 32)
    smooth, plain = (explain(*given, **o) for *given, o in (
        ("smoothgrad", classifier, images, [0, 1], {"samples": 2, "noise": 0}),
        ("saliency", classifier, images, [0, 1], {}),
    ))  # fmt: skip
    np.testing.assert_allclose(smooth.maps, plain.maps, rtol=1e-3, atol=1e-4 * np.abs(plain.maps).max())


def test_noise_is_a_share_of_each_channels_range():
    """A channel of ten times the range, in images of ten times the value: the same pictures, the same noise."""
    narrow = built("test_resnet", size=32, high=(255.0, 255.0, 255.0))
    wide = built("test_resnet", size=32, high=(255.0, 2550.0, 255.0))
    wide.load_state_dict(narrow.state_dict())
    scale = torch.tensor([1.0, 10.0, 1.0])[:, None, None]
    images = noise(1, 32)
    first = explain("smoothgrad", narrow, images, [0], samples=5).channels
    second = explain("smoothgrad", wide, images * scale, [0], samples=5).channels
    np.testing.assert_allclose(second * scale.numpy(), first, rtol=1e-2, atol=1e-3 * np.abs(first).max())


def test_scores_are_what_is_differentiated():
    classifier, images, classes = built("test_vit").eval(), noise(2), torch.tensor([2, 0])
    given = images.requires_grad_()
    scores(classifier, given, classes, "probability").sum().backward()
    got = explain("saliency", classifier, images, classes, score="probability")
    np.testing.assert_allclose(got.channels, given.grad.numpy(), rtol=1e-4, atol=1e-9)

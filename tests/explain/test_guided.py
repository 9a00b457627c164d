import numpy as np
import pytest
from torch import nn

from cellml.explain.base import explain
from tests.explain.helpers import Pooled, built, noise, wrapped


class Small(nn.Module):
    """Two layers of ReLUs, the second one used again: everything can be followed by hand."""

    def __init__(self, in_place):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(12, 7), nn.Linear(7, 7), nn.Linear(7, 3)
        self.once, self.twice = nn.ReLU(inplace=in_place), nn.ReLU(inplace=in_place)

    def forward(self, x):
        hidden = self.once(self.first(x.flatten(1)))
        return self.third(self.twice(self.second(self.twice(self.second(hidden)))))


def by_hand(net, x, wanted):
    """Backwards through matrices: at each ReLU only where its input was positive and the gradient is."""
    weights = [m.weight.detach().double().numpy() for m in (net.first, net.second, net.third)]
    biases = [m.bias.detach().double().numpy() for m in (net.first, net.second, net.third)]
    before = [weights[0] @ x + biases[0]]
    for _ in range(2):
        before.append(weights[1] @ np.maximum(before[-1], 0) + biases[1])
    gradient = weights[2][wanted]
    for inputs, weight in zip(reversed(before), (weights[1], weights[1], weights[0]), strict=True):
        gradient = np.maximum(gradient * (inputs > 0), 0) @ weight
    return gradient


@pytest.mark.parametrize("in_place", [False, True])
def test_a_small_network_by_hand(in_place):
    net = Small(in_place)
    images = noise(4, 2) / 255
    got = explain("guided_backprop", wrapped(net, size=2), images, [0, 1, 2, 0], score="logit")
    for image, wanted, channels in zip(images, [0, 1, 2, 0], got.channels, strict=True):
        expected = by_hand(net, image.double().numpy().ravel(), wanted).reshape(3, 2, 2)
        np.testing.assert_allclose(channels, expected, atol=1e-6)
    plain = explain("saliency", wrapped(net, size=2), images, [0, 1, 2, 0], score="logit")
    assert np.abs(plain.channels - got.channels).max() > 1e-2


@pytest.mark.parametrize("name", ["guided_backprop", "guided_gradcam"])
def test_without_relu_modules_occlusion_stands_in(name):
    classifier = wrapped(Pooled("NCHW"))
    images = noise(2, 16) / 255
    result = explain(name, classifier, images, [0, 1])
    assert (result.method, result.fallback) == ("occlusion", f"{name} cannot serve hand-built: it has no ReLU module")
    np.testing.assert_array_equal(result.maps, explain("occlusion", classifier, images, [0, 1]).maps)


def test_guided_gradcam_is_the_product_of_its_two_parts():
    classifier, images, classes = built("test_resnet"), noise(3), [0, 1, 2]
    cam = explain("gradcam", classifier, images, classes)
    guided = explain("guided_backprop", classifier, images, classes)
    both = explain("guided_gradcam", classifier, images, classes)
    np.testing.assert_allclose(both.channels, guided.channels * np.maximum(cam.maps, 0)[:, None], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(both.maps, guided.maps * np.maximum(cam.maps, 0), rtol=1e-4, atol=1e-9)
    assert both.layer == cam.layer
    assert np.abs(both.maps).max() > 0


def test_guided_gradcam_says_why_gradcam_cannot_serve():
    classifier = wrapped(Small(False), size=2)
    fallback = explain("guided_gradcam", classifier, noise(1, 2) / 255, [0]).fallback
    assert fallback.startswith("guided_gradcam cannot serve hand-built: ")
    assert "ReLU" not in fallback

import itertools

import numpy as np
import torch

from cellml.explain.base import explain, scores
from cellml.explain.references import reference
from tests.explain.helpers import Additive, Linear, Pooled, noise, wrapped

EVERYTHING = 100_000


def test_of_linear_and_additive_networks_each_pixel_has_its_own_change():
    images, classes = noise(2, 5, 2) / 255, torch.tensor([1, 0])
    sign = (2 * classes - 1)[:, None, None, None]
    for net in (Linear(2, 5, 2), Additive(2, 5)):
        blank = reference(images, "mean")
        with torch.no_grad():
            if isinstance(net, Additive):
                wanted = sign * (net.parts(images) - net.parts(blank))
            else:
                wanted = sign * (net.weight[1] - net.weight[0]) * (images - blank)
        classifier = wrapped(net, classes=2, channels=2, size=5)
        got = explain("shap_partition", classifier, images, classes, baseline="mean", samples=3000)
        np.testing.assert_allclose(got.channels, wanted.numpy(), atol=1e-4)
        np.testing.assert_allclose(got.maps, wanted.sum(dim=1).numpy(), atol=1e-4)
        assert got.convergence.max() < 1e-4


def test_owen_values_by_all_orders_that_keep_halves_together():
    classifier = wrapped(Pooled("NCHW", stride=1), size=2).eval()
    with torch.no_grad():
        classifier.net.conv.bias.normal_()
        classifier.net.conv.weight.mul_(20)
    image, wanted = noise(1, 2) / 255, torch.tensor([1])
    blank = reference(image, "mean")

    def value(pixels):
        shown = torch.zeros(4, dtype=torch.bool)
        shown[list(pixels)] = True
        with torch.no_grad():
            return float(scores(classifier, torch.where(shown.reshape(2, 2), image, blank), wanted, "log_odds")[0])

    owen, orders = np.zeros(4), 0
    for halves in itertools.permutations([(0, 1), (2, 3)]):  # rows first, then the pixels of each
        for order in itertools.product(*(itertools.permutations(half) for half in halves)):
            sequence, orders = [k for half in order for k in half], orders + 1
            for place, k in enumerate(sequence):
                owen[k] += value(sequence[: place + 1]) - value(sequence[:place])
    got = explain("shap_partition", classifier, image, wanted, baseline="mean", samples=EVERYTHING)
    np.testing.assert_allclose(got.maps[0].ravel(), owen / orders, atol=1e-5)
    alone = [value([k]) - value([]) for k in range(4)]
    assert np.abs(owen / orders - alone).max() > 1e-4  # the network is not additive


def test_what_is_left_undivided_is_spread_evenly():
    classifier = wrapped(Linear(3, 8, 2), classes=2, size=8)
    image = noise(1, 8) / 255
    got = explain("shap_partition", classifier, image, [1], samples=4).maps[0]
    weight = (classifier.net.weight[1] - classifier.net.weight[0]).detach()
    pixels = (weight * (image - reference(image, "blur"))[0]).sum(dim=0).numpy()
    for half in (slice(0, 4), slice(4, 8)):
        np.testing.assert_allclose(got[half], pixels[half].sum() / 32, atol=1e-4)


def test_batches_are_no_larger_than_asked():
    classifier = wrapped(Pooled("NCHW"))
    seen = []
    classifier.net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    explain("shap_partition", classifier, noise(1, 16) / 255, [0], samples=120, batch_size=16)
    assert max(seen) <= 16
    assert 118 <= sum(seen) <= 124

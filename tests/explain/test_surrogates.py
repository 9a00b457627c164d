import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial import distance
from sklearn.linear_model import Ridge
from torch.utils.data import DataLoader, TensorDataset

from cellml.explain import ridge, surrogates
from cellml.explain.base import explain, scores
from cellml.explain.references import reference
from cellml.explain.superpixels import segment
from tests.explain.helpers import Additive, Linear, Pooled, noise, wrapped

BOTH = pytest.mark.parametrize("name", ["lime", "kernel_shap"])


def by_superpixel(pixels, labels):
    """The sum over each superpixel, spread evenly over it."""
    total, size = np.bincount(labels.ravel(), pixels.ravel()), np.bincount(labels.ravel())
    return (total / size)[labels]


@pytest.mark.parametrize("kind", ["slic", "quickshift"])
@pytest.mark.parametrize("baseline", ["blur", "mean"])
@BOTH
def test_of_a_linear_network_both_give_weight_times_change_by_superpixel(name, baseline, kind):
    classifier = wrapped(Linear(3, 16, 2), classes=2)
    images, classes = noise(2, 16) / 255, torch.tensor([0, 1])
    weight = classifier.net.weight.detach()
    pixels = ((weight[classes] - weight[1 - classes]) * (images - reference(images, baseline))).sum(dim=1).numpy()
    labels = segment(images, 12, kind)
    wanted = np.stack([by_superpixel(p, k) for p, k in zip(pixels, labels, strict=True)])
    got = explain(name, classifier, images, classes, baseline=baseline, count=12, kind=kind, samples=200)
    np.testing.assert_allclose(got.maps, wanted, atol=2e-3 * np.abs(wanted).max())
    if name == "lime":
        np.testing.assert_allclose(got.convergence, 1, atol=1e-4)
    else:
        np.testing.assert_allclose(got.convergence, 0, atol=2e-3)


@BOTH
def test_of_an_additive_network_each_superpixel_has_its_own_change(name):
    classifier = wrapped(Additive(2, 12), classes=2, channels=2, size=12)
    images = noise(2, 12, 2) / 255
    net, labels = classifier.net, segment(images, 10)
    with torch.no_grad():
        pixels = (net.parts(images) - net.parts(reference(images, "blur"))).sum(dim=1).numpy()
    wanted = np.stack([by_superpixel(p, k) for p, k in zip(pixels, labels, strict=True)])
    got = explain(name, classifier, images, [1, 1], count=10, samples=300)
    np.testing.assert_allclose(got.maps, wanted, atol=2e-3 * np.abs(wanted).max())


def test_kernel_shap_finds_shapley_values():
    """Against their definition over all coalitions, on a network that is far from additive."""
    classifier = wrapped(Pooled("NCHW")).eval()
    images, classes = noise(2, 16) / 255, torch.tensor([0, 2])
    got = explain("kernel_shap", classifier, images, classes, count=6, samples=3000, score="logit")
    labels, blank = segment(images, 6), reference(images, "blur")
    for image, hidden, wanted, cut, found in zip(images, blank, classes, labels, got.maps, strict=True):
        m = cut.max() + 1
        assert 3 <= m <= 8
        sets = np.array(list(itertools.product([False, True], repeat=m)))
        shown = torch.from_numpy(sets[:, cut])[:, None]
        with torch.no_grad():
            value = scores(classifier, torch.where(shown, image, hidden), wanted.expand(len(sets)), "logit").numpy()
        worth = {tuple(s): v for s, v in zip(sets.tolist(), value, strict=True)}
        shapley = np.zeros(m)
        for k, s in itertools.product(range(m), sets.tolist()):
            if not s[k]:
                joined = [*s[:k], True, *s[k + 1 :]]
                weight = math.factorial(sum(s)) * math.factorial(m - sum(s) - 1) / math.factorial(m)
                shapley[k] += weight * (worth[tuple(joined)] - worth[tuple(s)])
        expected = (shapley / np.bincount(cut.ravel()))[cut]
        np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


def test_one_superpixel_has_the_whole_change():
    classifier = wrapped(Linear(1, 6, 2), classes=2, channels=1, size=6)
    image = torch.full((1, 1, 6, 6), 0.5)
    image[0, 0, 2, 3] = 0.6
    options = {"count": 2, "kind": "quickshift", "baseline": "mean"}
    assert segment(image, 2, "quickshift").max() == 0
    got = explain("kernel_shap", classifier, image, [1], **options)
    weight = (classifier.net.weight[1] - classifier.net.weight[0]).detach()
    change = float((weight * (image[0] - image.mean())).sum())
    np.testing.assert_allclose(got.maps, change / 36, rtol=1e-4)
    np.testing.assert_allclose(explain("lime", classifier, image, [1], **options).maps, change / 36, rtol=1e-4)


def test_the_surrogate_is_scikit_learns_ridge_with_its_weighted_r2():
    rng = np.random.default_rng(0)
    x, y, w = rng.integers(0, 2, (60, 5)).astype(np.float32), rng.normal(size=60).astype(np.float32), rng.random(60)
    surrogate = ridge.Ridge()
    dataset = TensorDataset(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(w.astype(np.float32)))
    surrogate.fit(DataLoader(dataset, batch_size=60))
    peer = Ridge(alpha=1e-3).fit(x, y, sample_weight=w)
    np.testing.assert_allclose(surrogate.representation().numpy().ravel(), peer.coef_, rtol=1e-4)
    assert surrogate.r2 == pytest.approx(peer.score(x, y, sample_weight=w), rel=1e-4)


def test_limes_kernel_goes_by_cosine_distance():
    for shown in ([1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 1]):
        wanted = math.exp(-(distance.cosine(shown, [1] * 4) ** 2) / 0.25**2)
        assert float(surrogates._similarity(None, None, torch.tensor([shown]))) == pytest.approx(wanted, rel=1e-5)


@BOTH
def test_as_many_evaluations_as_asked_in_batches_no_larger(name):
    classifier = wrapped(Pooled("NCHW"))
    seen = []
    classifier.net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    explain(name, classifier, noise(2, 16) / 255, [0, 1], samples=50, count=6, batch_size=20)
    assert max(seen) <= 20
    assert 100 <= sum(seen) <= 104

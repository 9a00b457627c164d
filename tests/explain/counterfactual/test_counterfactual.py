"""Counterfactuals of a network whose way there and back is an orthogonal matrix: what they should be is known."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from cellml.errors import UserError
from cellml.explain import counterfactual
from cellml.explain.counterfactual import base, latent
from cellml.models.classifier import Classifier
from cellml.models.generative import Generative
from cellml.models.spec import Spec

SIDE, CLASSES = 4, ("DS", "TT", "WT")
D = 2 * SIDE * SIDE


class Turned(Generative):
    """z = Q x, logits linear."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.q = nn.Parameter(torch.linalg.qr(torch.randn(D, D))[0])
        self.head = nn.Linear(D, len(CLASSES))

    def encode(self, x):
        return x.flatten(1) @ self.q.T

    def decode(self, z):
        return (z @ self.q).reshape(-1, 2, SIDE, SIDE)

    def logits(self, z):
        return self.head(z)

    def learn(self, x, targets, weights):
        return self(x), x.new_zeros(())

    def log_likelihood(self, x):
        return torch.zeros(len(x))


@pytest.fixture(scope="module")
def classifier():
    spec = Spec(
        backbone="turned", classes=CLASSES, channels=2, size=SIDE, crop=None, dtype="uint8", low=(0.0, 10.0),
        high=(200.0, 110.0), mean=(0.4, 0.5), std=(0.2, 0.3), temperature=1.7,
    )  # fmt: skip
    return Classifier(spec, Turned()).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(12, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 100 + 20


def pairs(classifier, images):
    """The class said of each image, and another."""
    said = classifier.probabilities(images).argmax(1).detach().numpy()
    return said, (said + 1) % len(CLASSES)


def test_the_shortest_way_across_the_boundary_is_the_closed_form(classifier, images):
    source, target = pairs(classifier, images)
    found = counterfactual.find("boundary", classifier, images, source, target)
    x = classifier.normalise(images).flatten(1).double().numpy()
    q, weight = (p.detach().double().numpy() for p in (classifier.net.q, classifier.net.head.weight))
    w = weight[target] - weight[source]
    logits = classifier.net(classifier.normalise(images)).detach().double().numpy()
    rows = np.arange(len(x))
    m = logits[rows, target] - logits[rows, source]
    moved = -(m / (w**2).sum(1))[:, None] * w @ q
    for images_, times in ((found.boundary, 1), (found.changed, 2)):
        seen = classifier.normalise(torch.from_numpy(images_)).flatten(1).double().numpy()
        np.testing.assert_allclose(seen - x, times * moved, atol=1e-5)
    assert found.reached.all()
    np.testing.assert_allclose(found.steps, [[1, 2]] * len(x), rtol=1e-4)


def test_on_the_boundary_both_classes_are_equally_probable_and_beyond_the_target_wins(classifier, images):
    source, target = pairs(classifier, images)
    means = latent.class_means(classifier, [images[:5], images[5:]])
    rows = np.arange(len(images))
    for name in counterfactual.METHODS:
        found = counterfactual.find(name, classifier, images, source, target, means=torch.nan_to_num(means))
        on, beyond = (
            classifier.probabilities(torch.from_numpy(part)).detach().numpy()[found.reached]
            for part in (found.boundary, found.changed)
        )
        n = rows[: len(on)]
        np.testing.assert_allclose(on[n, target[found.reached]], on[n, source[found.reached]], atol=2e-3)
        assert (beyond[n, target[found.reached]] > beyond[n, source[found.reached]]).all()
        assert found.reached.any()
        np.testing.assert_array_equal(found.changed[~found.reached], found.original[~found.reached])
        np.testing.assert_allclose(found.original, images.numpy(), atol=1e-3)


def test_the_search_finds_the_shortest_way(classifier, images):
    source, target = pairs(classifier, images)
    closed = counterfactual.find("boundary", classifier, images, source, target)
    searched = counterfactual.find("search", classifier, images, source, target, weight=100.0, steps=400)
    span = np.array([200.0, 100.0])[:, None, None] * np.array([0.2, 0.3])[:, None, None]
    for n in np.flatnonzero(searched.reached):
        a, b = ((one.boundary - one.original)[n] / span for one in (closed, searched))
        assert (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()) > 0.9
    assert searched.reached.mean() > 0.8


def test_mean_embeddings_are_those_of_the_images_that_get_the_class(classifier, images):
    said, _ = pairs(classifier, images)
    found = latent.class_means(classifier, images.split(5)).numpy()
    z = classifier.net.encode(classifier.normalise(images)).detach().numpy()
    for k in range(len(CLASSES)):
        if (said == k).any():
            np.testing.assert_allclose(found[k], z[said == k].mean(0), atol=1e-5)
        else:
            assert np.isnan(found[k]).all()


def test_the_first_crossing_is_found_or_said_to_be_missing():
    wanted = torch.tensor([0.0, 1e-3, 0.5, 7.0, 60.0, 1e6])
    found = base.crossing(lambda step: step - wanted, len(wanted), torch.device("cpu"))
    np.testing.assert_allclose(found[:-1], wanted[:-1], rtol=1e-5, atol=1e-9)
    assert torch.isnan(found[-1])


@pytest.mark.parametrize(
    ("name", "source", "target", "said"),
    [
        ("mean", 0, 1, "did you mean 'means'"),
        ("boundary", 1, 1, "differs from the source"),
        ("boundary", 0, 3, "below 3"),
    ],
)
def test_what_cannot_be_is_one_line(classifier, images, name, source, target, said):
    with pytest.raises(UserError, match=said) as caught:
        counterfactual.find(name, classifier, images, source, target)
    assert "\n" not in str(caught.value)


def test_only_generative_networks_have_a_way_back(classifier, images):
    plain = Classifier(
        dataclasses.replace(classifier.spec, backbone="plain"), nn.Sequential(nn.Flatten(), nn.Linear(D, 3))
    )
    for name in ("means", "boundary"):
        with pytest.raises(UserError, match=r"'plain'.*search"):
            counterfactual.find(name, plain, images, 0, 1)
    assert len(counterfactual.find("search", plain, images, 0, 1, steps=2)) == len(images)

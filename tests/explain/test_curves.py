import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import auc

from cellml.errors import UserError
from cellml.explain import baselines, curves, references
from cellml.explain.base import explain
from tests.explain.helpers import Linear, built, noise, wrapped


class Window(torch.nn.Module):
    """Two classes; evidence for class 0 is the mean of one square, whatever lies elsewhere."""

    def __init__(self, gain=10.0):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, x):
        seen = self.gain * (x[:, :, 4:12, 4:12].mean(dim=(1, 2, 3)) - 0.6)
        return torch.stack([seen, -seen], dim=1)


@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_a_linear_network_has_curves_in_closed_form(baseline):
    classifier = wrapped(Linear(3, 10, 2), classes=2, size=10)
    with torch.no_grad():
        classifier.net.weight.mul_(0.05)
    images, classes = noise(3, 10) / 255, np.array([0, 1, 1])
    hidden = references.reference(images, baseline)
    weight = classifier.net.weight.detach()
    direction = (weight[classes] - weight[1 - classes]).double()
    contribution = (direction * (images - hidden)).sum(dim=1).numpy()
    rest = (direction * hidden).sum(dim=(1, 2, 3)).numpy()
    deletion, insertion = curves.deletion_insertion(
        classifier, images, classes, contribution.astype(np.float32), steps=20, baseline=baseline, batch_size=7
    )
    falling = -np.sort(-contribution.reshape(3, -1), axis=1)
    shown = np.concatenate([np.zeros((3, 1)), falling.cumsum(axis=1)], axis=1)[:, ::5]
    np.testing.assert_allclose(insertion, expit(rest[:, None] + shown), atol=1e-5)
    np.testing.assert_allclose(deletion, expit(rest[:, None] + shown[:, -1:] - shown), atol=1e-5)


def test_maps_of_the_right_order_beat_every_other_one():
    classifier = wrapped(Linear(3, 10, 2), classes=2, size=10)
    images, classes = noise(4, 10) / 255, np.array([0, 1, 1, 0])
    hidden = references.reference(images, "blur")
    weight = classifier.net.weight.detach()
    best = ((weight[classes] - weight[1 - classes]) * (images - hidden)).sum(dim=1).numpy()
    best_out, best_in = (curves.area(c) for c in curves.deletion_insertion(classifier, images, classes, best))
    for seed in range(10):
        other = baselines.random(classes, (10, 10), seed).maps
        out, into = (curves.area(c) for c in curves.deletion_insertion(classifier, images, classes, other))
        assert (best_out <= out + 1e-6).all()
        assert (best_in >= into - 1e-6).all()


def test_a_model_of_one_window_ranks_perfect_random_and_inverted_maps():
    classifier = wrapped(Window(), classes=2, channels=1, size=32)
    images = 0.2 * noise(6, 32, channels=1) / 255
    images[:, :, 4:12, 4:12] += 0.8
    perfect = np.zeros((6, 32, 32), np.float32)
    perfect[:, 4:12, 4:12] = 1
    scored = [
        [curves.area(c).mean() for c in curves.deletion_insertion(classifier, images, np.zeros(6), maps)]
        for maps in (perfect, baselines.random(np.zeros(6), (32, 32)).maps, -perfect)
    ]
    deletion, insertion = np.array(scored).T
    assert deletion[0] < deletion[1] - 0.05 < deletion[2] - 0.1
    assert insertion[0] > insertion[1] + 0.05 > insertion[2] + 0.1


def test_batches_and_neighbours_change_nothing():
    classifier = built("test_resnet", size=24).train()
    images, classes = noise(5, 24), np.array([0, 2, 1, 1, 0])
    maps = np.round(explain("gradcam", classifier, images, classes).maps, 1)
    whole = curves.deletion_insertion(classifier, images, classes, maps, steps=6)
    small = curves.deletion_insertion(classifier, images, classes, maps, steps=6, batch_size=4)
    some = curves.deletion_insertion(classifier, images[2:4], classes[2:4], maps[2:4], steps=6)
    np.testing.assert_allclose(small, whole, atol=1e-6)
    np.testing.assert_allclose(some, np.array(whole)[:, 2:4], atol=1e-6)
    assert classifier.training
    assert all(parameter.requires_grad for parameter in classifier.parameters())


def test_ends_are_the_probabilities_of_the_image_and_of_its_blur():
    classifier = built("test_resnet", size=24, temperature=2.5).eval()
    images, classes = noise(3, 24), np.array([0, 2, 1])
    maps = baselines.centre(classes, (24, 24)).maps
    deletion, insertion = curves.deletion_insertion(classifier, images, classes, maps, steps=3)
    with torch.no_grad():
        ends = [classifier.probabilities(x)[range(3), classes] for x in (images, references.reference(images, "blur"))]
    np.testing.assert_allclose(deletion[:, [0, 3]].T, torch.stack(ends), atol=1e-6)
    np.testing.assert_allclose(insertion[:, [3, 0]].T, torch.stack(ends), atol=1e-6)


def test_twice_as_many_passes_as_steps_and_no_more_images_than_a_batch():
    classifier = wrapped(Linear(3, 8, 3), size=8)
    sizes = []
    classifier.net.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    curves.deletion_insertion(classifier, noise(3, 8), [0, 1, 2], np.zeros((3, 8, 8), np.float32), batch_size=16)
    assert sum(sizes) == 2 * 20 * 3
    assert max(sizes) == 16


def test_area_is_that_of_scikit_learn():
    curve = np.random.default_rng(0).random((4, 8))
    wanted = [auc(np.linspace(0, 1, 8), row) for row in curve]
    np.testing.assert_allclose(curves.area(curve), wanted)


def test_equal_pixels_stand_in_a_random_order_the_same_for_all_maps():
    maps = np.zeros((2, 20, 30), np.float32)
    maps[1, :5] = 2.0
    found = curves.ranks(maps, seed=1)
    assert (np.sort(found.reshape(2, -1), axis=1) == np.arange(600)).all()
    assert found[1, :5].max() == 149
    rows, columns = np.indices((20, 30))
    assert all(abs(np.corrcoef(found[0].ravel(), axis.ravel())[0, 1]) < 0.15 for axis in (rows, columns))
    lower = found[:, 5:].reshape(2, -1).argsort(axis=1)
    np.testing.assert_array_equal(lower[0], lower[1])
    assert (curves.ranks(maps, seed=2) != found).any()


def test_ranks_are_those_of_sorted_values():
    maps = np.random.default_rng(0).normal(size=(3, 6, 7)).astype(np.float32)
    wanted = (maps.reshape(3, 1, -1) > maps.reshape(3, -1, 1)).sum(axis=2)
    np.testing.assert_array_equal(curves.ranks(maps).reshape(3, -1), wanted)


def test_lengths_must_agree():
    classifier = wrapped(Linear(3, 8, 3), size=8)
    with pytest.raises(ValueError, match=r"maps of \(2, 8, 8\)"):
        curves.deletion_insertion(classifier, noise(2, 8), [0, 1], np.zeros((2, 7, 8), np.float32))
    with pytest.raises(ValueError, match="at least one step"):
        curves.deletion_insertion(classifier, noise(2, 8), [0, 1], np.zeros((2, 8, 8), np.float32), steps=0)
    with pytest.raises(UserError, match="'blur' or 'mean', got 'black'"):
        curves.deletion_insertion(classifier, noise(1, 8), [0], np.zeros((1, 8, 8), np.float32), baseline="black")

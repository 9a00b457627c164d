import numpy as np
import pytest
import torch

from cellml.explain.base import Attribution
from cellml.explain.stability import sensitivity
from tests.explain.helpers import noise, spec


def maps_of(function):
    return lambda x: Attribution(function(x).numpy(), np.zeros(len(x), np.int64), "test")


def test_maps_that_ignore_the_image_do_not_change():
    again = maps_of(lambda x: torch.ones(len(x), 16, 16))
    assert sensitivity(again(noise(3, 16)).maps, again, noise(3, 16), spec(size=16)).tolist() == [0, 0, 0]


def test_a_linear_map_changes_by_its_weight_times_the_noise():
    again = maps_of(lambda x: 3 * x.sum(dim=1))
    images, known = noise(4, 16), spec(size=16, low=(0, 0, 0), high=(255, 100, 50))
    drawn = []

    def watched(x):
        drawn.append((x - images).numpy())
        return again(x)

    found = sensitivity(again(images).maps, watched, images, known, draws=5, noise=0.1, seed=2)
    size = np.linalg.norm(again(images).maps.reshape(4, -1), axis=1)
    moved = [np.linalg.norm(3 * d.sum(axis=1).reshape(4, -1), axis=1) for d in drawn]
    np.testing.assert_allclose(found, np.max(moved, axis=0) / size, rtol=1e-4)
    assert len(drawn) == 5
    reach = np.abs(drawn).max(axis=(0, 1, 3, 4))
    np.testing.assert_allclose(reach, [25.5, 10, 5], rtol=0.02)
    for change in drawn:
        assert abs(change[:, 0].mean()) < 2
        np.testing.assert_allclose(change[0], change[3], atol=1e-4)


def test_more_noise_changes_more_and_an_empty_map_says_nothing():
    again = maps_of(lambda x: x[:, 0] * torch.tensor([1.0, 0.0])[:, None, None])
    images = noise(2, 16)
    little, much = (sensitivity(again(images).maps, again, images, spec(size=16), noise=s) for s in (0.01, 0.1))
    assert much[0] == pytest.approx(10 * little[0], rel=0.01)
    assert np.isnan(little[1])
    assert np.isnan(much[1])


def test_the_random_state_stays_as_it_was():
    before = torch.get_rng_state()
    again = maps_of(lambda x: x[:, 0])
    sensitivity(again(noise(2, 16)).maps, again, noise(2, 16), spec(size=16))
    assert torch.equal(before, torch.get_rng_state())

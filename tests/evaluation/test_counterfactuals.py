import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cellml.evaluation import counterfactuals

SPAN = np.array([100.0, 10.0])


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    original = rng.uniform(20, 30, (40, 2, 6, 6))
    changed = original.copy()
    changed[:, 0] *= 1.18
    return original, changed


def test_change_of_a_channel_with_its_interval(pair):
    groups = np.repeat(np.arange(10), 4)
    first, second = counterfactuals.changes(*pair, groups, resamples=300)
    assert (first.channel, second.channel) == (0, 1)
    assert first.relative == pytest.approx(0.18)
    assert (first.low, first.high) == pytest.approx((0.18, 0.18))
    assert (second.relative, second.low, second.high) == pytest.approx((0, 0, 0), abs=1e-12)
    assert first.after == pytest.approx(1.18 * first.before)


def test_the_interval_is_of_groups_drawn_whole():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), 5)
    original = np.full((60, 1, 2, 2), 10.0)
    effect = rng.normal(0.2, 0.1, 12)[groups]
    changed = original * (1 + effect)[:, None, None, None]
    (found,) = counterfactuals.changes(original, changed, groups, resamples=4000)
    sums = np.bincount(groups, effect) / 5
    drawn = sums[rng.integers(0, 12, (20000, 12))].mean(1)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.006)
    assert found.relative == pytest.approx(effect.mean())


def test_proximity_and_sparsity_by_hand(pair):
    original, changed = pair
    near = counterfactuals.proximity(original, changed, SPAN)
    np.testing.assert_allclose(near, 0.18 * original[:, 0].mean((1, 2)) / 100 / 2)
    still = (0.18 * original[:, 0] <= 5).mean((1, 2))
    np.testing.assert_allclose(counterfactuals.sparsity(original, changed, SPAN), still)
    assert (counterfactuals.sparsity(original, original, SPAN) == 1).all()


def test_realism_is_distance_to_real_cells_in_their_own_units():
    rng = np.random.default_rng(2)
    real, found = rng.normal(size=(30, 3)), rng.normal(size=(7, 3)) * 4
    between = cdist(real, real) + np.diag(np.full(30, np.inf))
    expected = cdist(found, real).min(1) / np.median(between.min(1))
    np.testing.assert_allclose(counterfactuals.realism(found, real), expected)
    assert (counterfactuals.realism(real, real) == 0).all()


def test_validity_is_what_another_classifier_says():
    assert counterfactuals.validity(np.array([1, 1, 0, 2]), np.array([1, 2, 0, 2])) == 0.75

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import bootstrap

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
    before, after = map(counterfactuals.of_channels, pair)
    found = {(one.channel, one.of): one for one in counterfactuals.changes(before, after, groups, resamples=300)}
    assert set(found) == {(0, "mean"), (0, "spread"), (1, "mean"), (1, "spread")}
    for of in ("mean", "spread"):
        first, second = found[0, of], found[1, of]
        assert (first.relative, first.low, first.high) == pytest.approx((0.18,) * 3)
        assert (second.relative, second.low, second.high) == pytest.approx((0,) * 3, abs=1e-12)
        assert first.after == pytest.approx(1.18 * first.before)
    assert found[0, "mean"].before == pytest.approx(pair[0][:, 0].mean())
    assert found[0, "spread"].before == pytest.approx(np.mean([image[0].std() for image in pair[0]]))


def test_the_interval_is_of_groups_drawn_whole():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), 5)
    before = np.full((60, 2, 1), 10.0)
    effect = rng.normal(0.2, 0.1, 12)[groups]
    after = before * (1 + effect)[:, None, None]
    found, _ = counterfactuals.changes(before, after, groups, resamples=4000)
    sums = np.bincount(groups, effect) / 5
    drawn = sums[rng.integers(0, 12, (20000, 12))].mean(1)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.006)
    assert found.relative == pytest.approx(effect.mean())


def test_a_difference_of_other_images_is_that_of_their_means_as_scipy_draws_them():
    rng = np.random.default_rng(3)
    a, b = rng.normal(100, 20, (80, 2, 1)), rng.normal(136, 20, (50, 2, 1))
    found, _ = counterfactuals.differences(a, np.arange(80), b, np.arange(50), resamples=5000)
    peer = bootstrap(
        (a[:, 0, 0], b[:, 0, 0]), lambda x, y, axis: y.mean(axis) / x.mean(axis) - 1, method="percentile", rng=0
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), abs=0.01)
    assert found.relative == pytest.approx(b[:, 0].mean() / a[:, 0].mean() - 1)


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


def test_without_real_cells_nothing_is_known_of_them():
    a, none = np.ones((5, 2, 1)), np.empty((0, 2, 1))
    for found in counterfactuals.differences(a, np.arange(5), none, np.empty(0), resamples=10):
        assert np.isnan([found.after, found.relative, found.low, found.high]).all()
    assert np.isnan(counterfactuals.realism(np.ones((3, 2)), np.ones((1, 2)))).all()

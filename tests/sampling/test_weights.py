from dataclasses import replace

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from cellml.sampling.strategies import resample
from tests.sampling.helpers import same, training


def test_class_weights_are_scikit_learns():
    rows = training(50, 20, 5)
    expected = compute_sample_weight("balanced", rows.targets)
    np.testing.assert_allclose(resample("class_weights", {}, rows, 0).weights, expected, rtol=1e-6)
    gentle = resample("class_weights", {"power": 0.5}, rows, 0).weights
    np.testing.assert_allclose(gentle, expected**0.5 / (expected**0.5).mean(), rtol=1e-6)
    assert (resample("class_weights", {"power": 0}, rows, 0).weights == 1).all()


def test_class_weights_of_soft_labels():
    soft = np.array([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75]])
    rows = replace(training(2, 1), targets=soft.argmax(1), soft_targets=soft)
    mass = np.array([2.0, 1.0])
    raw = np.array([(row * 3 / mass).sum() for row in soft])
    np.testing.assert_allclose(resample("class_weights", {}, rows, 0).weights, raw / raw.mean(), rtol=1e-6)


@pytest.mark.parametrize("strategy", ["class_weights", "effective_weights"])
def test_soft_labels_of_ones_and_zeros_are_hard_labels(strategy):
    hard = training(50, 20, 5)
    assert same(resample(strategy, {}, hard, 0), resample(strategy, {}, replace(hard, soft_targets=hard.labels), 0))


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99, 0.9999])
def test_effective_numbers_are_geometric_sums(beta):
    """The paper's definition: n rows are worth 1 + beta + ... + beta ** (n - 1)."""
    rows = training(50, 20, 0, 5)
    worth = np.array([sum(beta**i for i in range(n)) for n in (50, 20, 0, 5)])
    raw = np.array([1 / worth[k] for k in rows.targets])
    found = resample("effective_weights", {"beta": beta}, rows, 0).weights
    np.testing.assert_allclose(found, raw / raw.mean(), rtol=1e-6)


def test_effective_weights_lie_between_equal_and_class_weights():
    rows = training(50, 20, 5)
    assert (resample("effective_weights", {"beta": 0}, rows, 0).weights == 1).all()
    limit = resample("effective_weights", {"beta": 1 - 1e-9}, rows, 0).weights
    np.testing.assert_allclose(limit, compute_sample_weight("balanced", rows.targets), rtol=1e-5)


def test_effective_weights_of_soft_labels():
    soft = np.array([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75]])
    rows = replace(training(2, 1), targets=soft.argmax(1), soft_targets=soft)
    of_class = 0.1 / (1 - 0.9 ** np.array([2.0, 1.0]))
    raw = soft @ of_class
    found = resample("effective_weights", {"beta": 0.9}, rows, 0).weights
    np.testing.assert_allclose(found, raw / raw.mean(), rtol=1e-6)


def test_balanced_draws_every_class_equally_often():
    rows = training(500, 90, 0, 10)
    sample = resample("balanced", {}, rows, 0)
    np.testing.assert_allclose(sample.counts(rows), [200, 200, 0, 200])
    drawn = np.random.default_rng(0).choice(sample.rows, size=60000, p=sample.draw)
    share = np.bincount(rows.targets[drawn], minlength=4) / 60000
    np.testing.assert_allclose(share, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.01)
    within = sample.draw[rows.targets == 1]
    assert within.min() == within.max()


def test_balanced_by_a_lower_power_lies_between():
    rows = training(80, 20)
    np.testing.assert_allclose(resample("balanced", {"power": 0}, rows, 0).counts(rows), [80, 20])
    np.testing.assert_allclose(resample("balanced", {"power": 0.5}, rows, 0).counts(rows), [200 / 3, 100 / 3])

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from cellml.evaluation import quantify


def rates(counts):
    return (counts / counts.sum(1, keepdims=True)).T


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_exact_shares_are_found_again(classes):
    rng = np.random.default_rng(classes)
    for _ in range(20):
        counts = rng.integers(1, 20, (classes, classes)) + 30 * np.eye(classes)
        true = rng.dirichlet(np.ones(classes))
        np.testing.assert_allclose(quantify.adjusted_count(rates(counts) @ true, counts), true, atol=1e-9)


def test_two_classes_follow_formans_formula_clipped_to_0_and_1():
    counts = np.array([[80, 20], [30, 70]])
    for said in np.linspace(0, 1, 11):
        expected = np.clip((said - 0.2) / (0.7 - 0.2), 0, 1)
        assert quantify.adjusted_count([1 - said, said], counts)[1] == pytest.approx(expected, abs=1e-9)


def test_shares_off_the_simplex_give_its_nearest_point():
    rng = np.random.default_rng(0)
    grid = [np.array(c) / 60 for c in itertools.product(range(61), repeat=3) if sum(c) == 60]
    for _ in range(10):
        counts = rng.integers(1, 20, (3, 3)) + 30 * np.eye(3)
        said = rng.dirichlet([0.3, 0.3, 0.3])
        found, known = quantify.adjusted_count(said, counts), rates(counts)

        def distance(x, m=known, q=said):
            return np.linalg.norm(m @ x - q)

        assert found.sum() == pytest.approx(1)
        assert (found >= 0).all()
        peer = optimize.minimize(
            lambda x: distance(x) ** 2,
            np.full(3, 1 / 3),
            bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-15},
        )
        np.testing.assert_allclose(found, peer.x, atol=1e-4)
        assert distance(found) <= min(distance(x) for x in grid) + 1e-12


def test_a_class_without_validation_rows_has_no_adjusted_count():
    assert np.isnan(quantify.adjusted_count([0.5, 0.5, 0], [[5, 1, 0], [1, 4, 0], [0, 0, 0]])).all()


@pytest.mark.parametrize("classes", [2, 4])
def test_prior_correction_is_the_maximum_of_the_likelihood(classes):
    rng = np.random.default_rng(classes)
    probabilities = rng.dirichlet(np.ones(classes), 80)
    prior = rng.dirichlet(np.ones(classes) * 5)

    def cost(z):
        shares = np.exp(z) / np.exp(z).sum()
        return -np.log((probabilities / prior) @ shares).sum()

    peer = optimize.minimize(cost, np.zeros(classes), method="BFGS").x
    expected = np.exp(peer) / np.exp(peer).sum()
    np.testing.assert_allclose(quantify.prior_corrected(probabilities, 300 * prior), expected, atol=1e-3)


def test_prior_correction_finds_the_shares_of_true_posteriors():
    rng = np.random.default_rng(0)
    prior, true = np.array([0.8, 0.2]), 0.7
    x = np.where(rng.random(20_000) < true, rng.normal(1, 1, 20_000), rng.normal(-1, 1, 20_000))
    joint = prior * np.column_stack([stats.norm.pdf(x, -1), stats.norm.pdf(x, 1)])
    posterior = joint / joint.sum(1, keepdims=True)
    found = quantify.prior_corrected(posterior, prior)
    assert found[1] == pytest.approx(true, abs=0.015)
    assert abs(posterior[:, 1].mean() - true) > 0.1


def test_probabilities_that_tell_nothing_keep_the_prior_and_sure_ones_are_counted():
    prior = np.array([5.0, 3.0, 2.0])
    np.testing.assert_allclose(quantify.prior_corrected(np.tile(prior / 10, (7, 1)), prior), prior / 10)
    np.testing.assert_allclose(quantify.prior_corrected(np.eye(3)[[0, 1, 1, 2]], prior), [0.25, 0.5, 0.25])


def test_a_class_that_was_not_trained_is_given_nothing():
    found = quantify.prior_corrected(np.array([[0.6, 0.4, 0.0], [0.2, 0.7, 0.1], [0.0, 0.0, 1.0]]), [3, 1, 0])
    assert found[2] == 0
    assert found.sum() == pytest.approx(1)


def test_no_shares_from_a_classifier_that_hardly_tells_classes_apart():
    assert np.isnan(quantify.adjusted_count([0.5, 0.5], [[10, 10], [10, 10]])).all()
    assert np.isnan(quantify.adjusted_count([0.5, 0.5], [[52, 48], [48, 52]])).all()
    assert np.isfinite(quantify.adjusted_count([0.5, 0.5], [[60, 40], [40, 60]])).all()

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from cellml.evaluation import delong

# albumin, total protein, K-G score, outcome of 43 patients: the complete rows of DeLong et al. 1988, as SAS prints them
PATIENTS = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1 3.7 6.7 6 1
3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0 3.5 5.8 6 1
3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1
3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1
3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


def brute(scores, positive):
    """The structural components pair by pair, as the paper defines them."""
    over, under = scores[:, positive], scores[:, ~positive]
    wins = (over[:, :, None] > under[:, None, :]) + 0.5 * (over[:, :, None] == under[:, None, :])
    s10, s01 = np.cov(wins.mean(axis=2)), np.cov(wins.mean(axis=1))
    return wins.mean(axis=(1, 2)), s10 / over.shape[1] + s01 / under.shape[1]


def test_the_papers_patients():
    rows = np.array(PATIENTS.split(), dtype=float).reshape(-1, 4)
    scores, positive = np.stack([10 - rows[:, 2], rows[:, 0], rows[:, 1]]), rows[:, 3] == 1
    areas, covariance = delong.moments(scores, positive)
    assert areas == pytest.approx([0.7258, 0.7366, 0.6478], abs=5e-5)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.1028, 0.0927, 0.1000], abs=5e-5)
    assert delong.p_values(scores, positive)[1:] == pytest.approx([0.9102, 0.4561], abs=5e-5)


@pytest.mark.parametrize("decimals", [1, 8])
def test_moments_are_those_of_all_pairs(decimals):
    rng = np.random.default_rng(0)
    positive = rng.random(60) < 0.3
    scores = np.round(rng.normal(size=(3, 60)) + positive, decimals)
    areas, covariance = delong.moments(scores, positive)
    expected, right = brute(scores, positive)
    np.testing.assert_allclose(areas, expected)
    np.testing.assert_allclose(covariance, right)
    assert areas == pytest.approx([roc_auc_score(positive, one) for one in scores])
    z = (areas[1] - areas[0]) / np.sqrt(right[0, 0] + right[1, 1] - 2 * right[0, 1])
    assert delong.p_values(scores, positive)[1] == pytest.approx(2 * stats.norm.cdf(-abs(z)))


def test_p_is_uniform_where_models_are_alike():
    rng = np.random.default_rng(1)
    p = []
    for _ in range(300):
        positive = np.arange(80) < 30
        p.append(delong.p_values(positive + rng.normal(size=(2, 80)), positive)[1])
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_same_order_cannot_be_told_apart_and_one_positive_says_nothing():
    scores = np.random.default_rng(2).random(20)
    p = delong.p_values(np.stack([scores, scores**3]), scores > 0.4)
    assert np.isnan(p[0])
    assert p[1] == 1
    assert np.isnan(delong.p_values(np.stack([scores, -scores]), np.arange(20) == 0)).all()

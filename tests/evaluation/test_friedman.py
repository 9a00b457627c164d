import numpy as np
import pytest
from scipy import stats

from cellml.evaluation import friedman

# Demsar 2006, table 6: AUC of C4.5, +m, +cf, +m+cf on 14 data sets; "voting" has cf just before m+cf in its ranks
TABLE_6 = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.97501, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_the_papers_worked_example():
    average = friedman.ranks(TABLE_6).mean(axis=0)
    np.testing.assert_allclose(average, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    found = friedman.test(average, 14)
    assert (found.chi2, found.f) == (pytest.approx(9.28, abs=0.005), pytest.approx(3.69, abs=0.005))
    assert found.p_f == pytest.approx(1 - stats.f.cdf(3.69, 3, 39), abs=1e-4)
    assert 0.01 < found.p_f < 0.05  # the critical value of F(3, 39) at 0.05 is 2.85
    assert friedman.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert friedman.critical_difference(4, 14, 0.1) == pytest.approx(1.12, abs=0.005)


@pytest.mark.parametrize(
    ("models", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (8, 3.031), (10, 3.164)]
)
def test_critical_values_are_the_papers_table_5a(models, q):
    difference = friedman.critical_difference(models, 7)
    assert difference == pytest.approx(q * np.sqrt(models * (models + 1) / 42), abs=2e-3)


def test_without_ties_the_statistic_is_scipys():
    scores = np.random.default_rng(0).normal(size=(9, 5))
    found = friedman.test(friedman.ranks(scores).mean(axis=0), 9)
    chi2, p = stats.friedmanchisquare(*scores.T)
    assert (found.chi2, found.p_chi2) == (pytest.approx(chi2), pytest.approx(p))


def test_lower_may_be_better_and_ties_share_their_rank():
    assert friedman.ranks(np.array([[0.1, 0.3, 0.3, 0.2]]), higher=False).tolist() == [[1, 3.5, 3.5, 2]]
    assert friedman.ranks(np.array([[0.1, 0.3, 0.3, 0.2]])).tolist() == [[4, 1.5, 1.5, 3]]


def test_perfect_agreement_leaves_no_doubt():
    found = friedman.test(np.array([1.0, 2.0, 3.0]), 2)
    assert found.chi2 == pytest.approx(4)  # N (k - 1)
    assert (found.f, found.p_f) == (np.inf, 0)


@pytest.mark.parametrize(
    ("average", "difference", "runs"),
    [
        ([1.964, 2.0, 2.893, 3.143], 1.25, [(0, 3)]),
        ([1, 1.5, 2.5, 3.2], 1.0, [(0, 1), (1, 2), (2, 3)]),
        ([1, 1.2, 1.4, 3], 0.5, [(0, 2)]),
        ([1, 2, 3], 0.9, []),
        ([1, 1.4, 1.9, 2.3], 0.9, [(0, 2), (1, 3)]),
    ],
)
def test_cliques_are_the_longest_runs_within_the_difference(average, difference, runs):
    assert friedman.cliques(np.array(average), difference) == runs
    pairs = {(i, j) for i in range(len(average)) for j in range(i) if abs(average[i] - average[j]) <= difference}
    joined = {(i, j) for a, b in runs for i in range(a, b + 1) for j in range(a, i)}
    assert joined == pairs

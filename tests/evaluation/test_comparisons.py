import itertools

import numpy as np
import pytest

from cellml.evaluation import comparisons


def closed(p):
    """Holm as the closure of Bonferroni: a hypothesis is as doubtful as the most doubtful set that holds it."""
    m = range(len(p))
    sets = [s for size in m for s in itertools.combinations(m, size + 1)]
    return [max(min(1, len(s) * min(p[i] for i in s)) for s in sets if k in s) for k in m]


def test_holm_of_the_textbook_example():
    assert comparisons.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_closed_test_of_bonferroni(seed):
    rng = np.random.default_rng(seed)
    p = np.append(rng.random(6) ** 3, [0.02, 0.02])
    assert comparisons.holm(p) == pytest.approx(closed(p))


def test_holm_does_not_count_what_was_not_tested():
    assert comparisons.holm([np.nan, 0.02, np.nan, 0.01]) == pytest.approx([np.nan, 0.02, np.nan, 0.02], nan_ok=True)
    assert np.isnan(comparisons.holm([np.nan])).all()


@pytest.mark.parametrize("higher", [True, False])
def test_rank_probabilities_are_means_over_all_ways_to_break_ties(higher):
    samples = np.random.default_rng(0).integers(0, 4, (60, 4)).astype(float)
    samples[3, 2] = np.nan
    expected = np.zeros((4, 4))
    counted = samples[np.isfinite(samples).all(axis=1)]
    for scores in counted:
        orders = [
            o for o in itertools.permutations(range(4)) if (np.diff(scores[list(o)]) * (1 - 2 * higher) >= 0).all()
        ]
        for order in orders:
            expected[list(order), range(4)] += 1 / len(orders) / len(counted)
    found = comparisons.rank_probabilities(samples, higher)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(comparisons.expected_ranks(found), expected @ [1, 2, 3, 4])


def test_scores_that_differ_by_rounding_are_tied():
    found = comparisons.rank_probabilities(np.array([[0.3, 0.1 + 0.2]]))
    assert found.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_no_resample_says_nothing():
    assert np.isnan(comparisons.rank_probabilities(np.full((3, 2), np.nan))).all()

import numpy as np
import pytest
from scipy import stats

from cellml.evaluation import permutation


def test_on_one_plate_it_is_scipys_exact_test():
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.normal(1, 1, 4), rng.normal(0, 1, 5)
        expected = stats.permutation_test(
            (a, b), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), n_resamples=np.inf
        )
        found = permutation.compared(np.r_[a, b], [True] * 4 + [False] * 5, ["P"] * 9)
        # scipy doubles the smaller tail; with unequal numbers ours counts |difference|
        null = np.abs(expected.null_distribution)
        assert found.p == pytest.approx((null >= abs(expected.statistic) - 1e-9).mean())


def test_three_against_three_cannot_go_below_a_tenth():
    found = permutation.compared([1, 2, 3, 10, 11, 12], [True] * 3 + [False] * 3, ["P"] * 6)
    assert (found.p, found.least) == (0.1, 0.1)


def test_two_plates_multiply_their_divisions():
    values = [1, 2, 3, 10, 11, 12] * 2
    found = permutation.compared(values, ([True] * 3 + [False] * 3) * 2, ["P"] * 6 + ["Q"] * 6)
    assert found.p == pytest.approx(2 / 400)


def test_a_difference_between_plates_is_none_between_treatments():
    rng = np.random.default_rng(3)
    plates = np.array(["P"] * 8 + ["Q"] * 8)
    treated = np.array([True] * 6 + [False] * 2 + [True] * 2 + [False] * 6)
    values = rng.normal(0, 1, 16)
    shifted = values + 100 * (plates == "Q")
    assert permutation.compared(shifted, treated, plates) == permutation.compared(values, treated, plates)
    assert permutation.compared(shifted, treated, ["one"] * 16).p != permutation.compared(values, treated, plates).p


def test_what_shares_no_plate_cannot_be_compared():
    assert permutation.compared([1, 2, 3, 4], [True, True, False, False], ["P", "P", "Q", "Q"]).p is None


def test_many_wells_are_drawn_at_random_and_agree_with_the_t_test():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.6, 1, 40), rng.normal(0, 1, 50)
    found = permutation.compared(np.r_[a, b], [True] * 40 + [False] * 50, ["P"] * 90)
    assert found.p == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.01)
    assert found.least == 1 / (permutation.DRAWS + 1)


def test_p_is_right_under_the_null():
    rng = np.random.default_rng(5)
    p = [permutation.compared(rng.normal(size=8), [True, False] * 4, ["P"] * 8).p for _ in range(300)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.05)

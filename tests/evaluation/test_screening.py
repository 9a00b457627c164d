import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from cellml.evaluation import intervals, screening
from cellml.evaluation.weighted import Cells

# Worked by hand. Means 100 and 10, deviations 2 and 4: Z' = 1 - 3 (2 + 4) / 90 = 0.8, SSMD = 90 / sqrt(4 + 16).
HIGH, LOW = np.array([98.0, 100.0, 102.0]), np.array([6.0, 10.0, 14.0])


def test_worked_example():
    assert screening.z_prime(HIGH, LOW) == pytest.approx(0.8)
    assert screening.ssmd(HIGH, LOW) == pytest.approx(90 / np.sqrt(20))
    # medians 100 and 10, median absolute deviations 2 and 4
    assert screening.robust_z_prime(HIGH, LOW) == pytest.approx(1 - 3 * 1.4826 * 6 / 90)
    assert screening.auroc(HIGH, LOW) == 1


def test_robust_z_prime_overlooks_a_broken_cell():
    many = np.concatenate([HIGH, [99, 101, 100, 98]])
    broken = np.concatenate([many, [-4000]])
    assert screening.z_prime(broken, LOW) < -3
    assert screening.robust_z_prime(broken, LOW) > 0.5


values = st.lists(st.floats(-50, 50).map(lambda x: round(x, 2)), min_size=2, max_size=25)


@settings(max_examples=40, deadline=None)
@given(values, values)
def test_the_libraries_agree(p, n):
    p, n = np.array(p), np.array(n)
    auroc = roc_auc_score([1] * len(p) + [0] * len(n), np.concatenate([p, n]))
    assert screening.auroc(p, n) == pytest.approx(auroc)
    if not screening.undefined("ssmd", p, n):
        assert screening.ssmd(p, n) == pytest.approx((p.mean() - n.mean()) / np.sqrt(p.var(ddof=1) + n.var(ddof=1)))
    if not screening.undefined("robust_z_prime", p, n):
        mad = [stats.median_abs_deviation(v, scale=1 / 1.4826) for v in (p, n)]
        expected = 1 - 3 * sum(mad) / abs(np.median(p) - np.median(n))
        assert screening.robust_z_prime(p, n) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(values, values, st.floats(0.1, 10), st.floats(-5, 5))
def test_z_prime_knows_neither_unit_nor_direction(p, n, scale, shift):
    p, n = np.array(p), np.array(n)
    if not screening.undefined("z_prime", p, n):
        found = screening.z_prime(p, n)
        assert found <= 1
        assert screening.z_prime(scale * n + shift, scale * p + shift) == pytest.approx(found, rel=1e-6)


def test_z_prime_of_nought_is_an_ssmd_of_three_root_two_where_deviations_are_equal():
    """Zhang 2007: with one deviation s, Z' = 1 - 6 s / d and SSMD = d / (s sqrt 2)."""
    p, n = np.array([5.0, 6.0, 7.0]), np.array([-1.0, 0.0, 1.0])
    assert screening.z_prime(p, n) == pytest.approx(0)
    assert screening.ssmd(p, n) == pytest.approx(3 * np.sqrt(2))


@pytest.mark.parametrize(
    ("name", "p", "n", "why"),
    [
        ("z_prime", [1.0], [0.0, 1.0], "positive control has 1 cell,"),
        ("ssmd", [1.0, 2.0], [], "negative control has 0 cells"),
        ("z_prime", [1.0, 2.0], [3.0, 3.0], "scores of the negative control do not vary"),
        ("robust_z_prime", [1.0, 1.0, 1.0, 5.0], [0.0, 2.0, 3.0], "positive control do not vary .half of them"),
        ("z_prime", [1.0, 3.0], [0.0, 4.0], "same mean"),
        ("ssmd", [1.0, 1.0], [0.0, 0.0], "both controls do not vary"),
    ],
)
def test_what_is_undefined_says_why(name, p, n, why):
    import re

    p, n = np.array(p), np.array(n)
    assert re.search(why, screening.undefined(name, p, n))
    assert np.isnan(getattr(screening, name)(p, n))


def test_0_1_is_no_spread():
    assert "do not vary" in screening.undefined("z_prime", np.full(10, 0.1), np.arange(3.0))


@pytest.mark.parametrize("name", screening.NAMES)
def test_a_resample_is_what_its_repeated_cells_give(name):
    rng = np.random.default_rng(1)
    cells = [Cells(rng.normal(m, 1, 40).round(1), rng.integers(0, 5, 40), 5) for m in (2, 0)]
    drawn = [next(intervals.multiplicities(5, 30, seed)) for seed in (1, 2)]
    found = screening.resampled(name, *cells, (drawn[0], drawn[1]))
    for r in range(30):
        repeated = [np.repeat(c.values, d[c.wells, r].astype(int)) for c, d in zip(cells, drawn, strict=True)]
        assert found[r] == pytest.approx(getattr(screening, name)(*repeated), rel=1e-6)


def test_a_resample_without_spread_is_undefined():
    cells = Cells(np.array([1.0, 1.0, 2.0]), np.array([0, 0, 1]), 2)
    drawn = np.array([[2.0, 1.0], [0.0, 1.0]])
    found = screening.resampled(
        "z_prime", cells, Cells(np.array([5.0, 7.0]), np.array([0, 1]), 2), (drawn, np.ones((2, 2)))
    )
    assert np.isnan(found).tolist() == [True, False]

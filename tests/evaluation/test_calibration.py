import numpy as np
import pytest
from scipy import stats

from cellml.evaluation import calibration
from tests.evaluation import helpers


def test_bins_are_open_below_and_closed_above():
    top = np.array([1 / 15, 1 / 15 + 1e-9, 0.5, 1.0, 14 / 15, 1.0000001])
    table = np.column_stack([top, np.zeros(6)])
    assert calibration.bins(table).tolist() == [0, 1, 7, 14, 13, 14]


def test_every_row_falls_in_the_bin_of_the_papers_definition():
    p = helpers.make(500, seed=3).probabilities
    expected = [next(m for m in range(15) if m / 15 < row.max() <= (m + 1) / 15) for row in p]
    assert calibration.bins(p).tolist() == expected


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (3, 7), (50, 60), (0, 40)])
def test_wilson_is_scipys(right, count):
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    low, high = calibration.wilson(np.array([right]), np.array([count]), z=stats.norm.ppf(0.975))
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)

import numpy as np
import pytest
from scipy import stats

from cellml.evaluation import weighted
from cellml.evaluation.weighted import Cells


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    return Cells(rng.normal(1000, 3, 60).round(), rng.integers(0, 7, 60), 7), rng.integers(0, 4, (7, 50)).astype(float)


def repeated(cells, drawn, r):
    return np.repeat(cells.values, drawn[cells.wells, r].astype(int))


def test_moments_are_those_of_repeated_cells(given):
    mean, spread = weighted.moments(*given)
    for r in range(50):
        assert mean[r] == pytest.approx(repeated(*given, r).mean())
        assert spread[r] == pytest.approx(repeated(*given, r).std(ddof=1))


def test_medians_and_deviations_are_those_of_repeated_cells(given, monkeypatch):
    monkeypatch.setattr(weighted, "_HELD", 60 * 8)  # several chunks
    median, spread = weighted.deviation(*given)
    for r in range(50):
        assert median[r] == np.median(repeated(*given, r))
        assert spread[r] == pytest.approx(stats.median_abs_deviation(repeated(*given, r)), abs=1e-9)


def test_nothing_drawn_is_nan(given):
    assert np.isnan(weighted.moments(given[0], np.zeros((7, 1)))).all()
    assert np.isnan(weighted.deviation(given[0], np.zeros((7, 1)))).all()


def test_wins_are_counted_pair_by_pair():
    rng = np.random.default_rng(2)
    p, n = Cells(rng.integers(0, 6, 20).astype(float), rng.integers(0, 3, 20), 3), None
    n = Cells(rng.integers(0, 6, 15).astype(float), rng.integers(0, 4, 15), 5)  # its last well is empty
    expected = np.zeros((3, 5))
    for a, i in zip(p.values, p.wells, strict=True):
        for b, j in zip(n.values, n.wells, strict=True):
            expected[i, j] += (a > b) + (a == b) / 2
    assert (weighted.wins(p, n) == expected).all()

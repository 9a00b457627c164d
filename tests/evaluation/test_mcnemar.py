import numpy as np
import pytest
from scipy import stats

from cellml.evaluation import mcnemar


def pair(b, c, both=3):
    """Two models of which the first alone is right b times and the second alone c times."""
    first = np.repeat([True, False, True], [b, c, both])
    return np.stack([first, np.repeat([False, True, True], [b, c, both])])


def test_the_published_children():
    """Bentur et al. 2009, as in Fagerland, Lydersen and Laake 2013: 1 against 7 discordant pairs."""
    exact, mid = mcnemar.p_values(pair(1, 7))
    assert (exact[1], mid[1]) == (pytest.approx(0.0703, abs=5e-5), pytest.approx(0.0391, abs=5e-5))


@pytest.mark.parametrize(("b", "c"), [(0, 3), (5, 2), (4, 4), (12, 30), (1, 0)])
def test_exact_p_is_scipys_and_mid_p_counts_what_was_seen_half(b, c):
    exact, mid = mcnemar.p_values(pair(b, c))
    assert exact[1] == pytest.approx(stats.binomtest(b, b + c).pvalue)
    chances = {k: stats.binom.pmf(k, b + c, 0.5) for k in range(b + c + 1)}
    more = sum(p for k, p in chances.items() if min(k, b + c - k) < min(b, c))
    as_much = sum(p for k, p in chances.items() if min(k, b + c - k) == min(b, c))
    assert mid[1] == pytest.approx(more + as_much / 2)


def test_models_right_on_the_same_images_cannot_be_told_apart():
    exact, mid = mcnemar.p_values(pair(0, 0))
    assert np.isnan([exact[0], mid[0]]).all()
    assert (exact[1], mid[1]) == (1, 1)

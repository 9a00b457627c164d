"""Several models over several data sets: average ranks, Friedman's test, Nemenyi's critical difference.

Demsar 2006, Statistical comparisons of classifiers over multiple data sets, J. Mach. Learn. Res. 7:1, section 3.2.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
DIGITS = 12  # scores that agree to these decimals are tied


class Friedman(NamedTuple):
    """Friedman's test of N data sets and k models; p of chi2 with k - 1, of F with k - 1, (k - 1)(N - 1) degrees."""

    chi2: float
    p_chi2: float
    f: float  # Iman and Davenport 1980: less conservative
    p_f: float


def ranks(scores: Array, higher: bool = True) -> Array:
    """Ranks of k models on each of N data sets, (N, k), from 1 for the best; ties have their average rank.

    Args:
        scores: (N, k).
        higher: whether the greater score is the better.
    """
    return stats.rankdata(np.round(scores, DIGITS) * (-1 if higher else 1), axis=1)


def test(average: Array, sets: int) -> Friedman:
    """Whether k models differ, by their average ranks over N data sets; ties are not corrected for, as in the paper.

    chi2 = 12 N / (k (k + 1)) (sum_j R_j^2 - k (k + 1)^2 / 4) and F = (N - 1) chi2 / (N (k - 1) - chi2).

    Args:
        average: (k,) average ranks R_j.
        sets: N.
    """
    k = len(average)
    chi2 = 12 * sets / (k * (k + 1)) * (np.square(average).sum() - k * (k + 1) ** 2 / 4)
    left = sets * (k - 1) - chi2
    f = (sets - 1) * chi2 / left if left > 1e-9 else np.inf
    p_f = stats.f.sf(f, k - 1, (k - 1) * (sets - 1))
    return Friedman(float(chi2), float(stats.chi2.sf(chi2, k - 1)), float(f), float(p_f))


def critical_difference(models: int, sets: int, alpha: float = 0.05) -> float:
    """Average ranks of two models that differ by more are different at level alpha (Nemenyi 1963).

    q sqrt(k (k + 1) / (6 N)), q being the quantile of the studentised range of k models, divided by sqrt(2).
    """
    q = stats.studentized_range.ppf(1 - alpha, models, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(models * (models + 1) / (6 * sets)))


def cliques(average: Array, difference: float) -> list[tuple[int, int]]:
    """Runs of models that the test does not tell apart.

    Args:
        average: (k,) average ranks, ascending.
        difference: the critical one.

    Returns:
        First and last position of each longest run of two or more models whose ends differ by `difference` or less.
    """
    last = np.searchsorted(average, average + difference + 1e-12, side="right") - 1
    runs = [(i, int(j)) for i, j in enumerate(last) if j > i]
    return [run for place, run in enumerate(runs) if not place or run[1] > runs[place - 1][1]]

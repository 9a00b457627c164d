"""A permutation test of wells within plates: exact where there are few, so that no distribution is assumed.

Cells of a well share whatever happened to it, so a well counts once. Wells are exchanged within their plate only,
which leaves differences between plates out of the comparison (stratified permutation test: Good 2005, Permutation,
Parametric and Bootstrap Tests of Hypotheses, chapter 3). A rank test would give up the sizes of differences, which few
wells cannot spare, and its normal approximation needs more of them.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
EXACT = 20_000  # divisions of the wells, up to which all are counted
DRAWS = 20_000
_EQUAL = 1e-9  # of the largest value: sums that differ by less are the same


@dataclass(frozen=True)
class Tested:
    """Two-sided p, None where nothing can be exchanged, and the least that so few wells can give."""

    p: float | None
    least: float | None


def compared(values: npt.ArrayLike, treated: npt.ArrayLike, strata: npt.ArrayLike, seed: int = 0) -> Tested:
    """Whether treated wells differ from the others of their plate.

    The statistic is the absolute sum of the treated wells' differences from the mean of their stratum. All divisions
    of each stratum's wells are counted, or, where there are more than `EXACT`, `DRAWS` random ones beside the observed.

    Args:
        values: (W,) one value a well.
        treated: (W,) bool.
        strata: (W,) the plate of each; one without treated or without other wells does not count.
        seed: of random divisions.
    """
    values, treated, strata = np.asarray(values, dtype=np.float64), np.asarray(treated, bool), np.asarray(strata)
    parts = []
    for stratum in np.unique(strata):
        here = strata == stratum
        if 0 < treated[here].sum() < here.sum():
            parts.append((values[here] - values[here].mean(), treated[here]))
    if not parts:
        return Tested(None, None)
    observed = abs(sum(float(centred[chosen].sum()) for centred, chosen in parts))
    slack = _EQUAL * max(float(np.abs(centred).max()) for centred, _ in parts)
    number = math.prod(math.comb(len(chosen), int(chosen.sum())) for _, chosen in parts)
    if number <= EXACT:
        sums = np.zeros(1)
        for centred, chosen in parts:
            sums = np.add.outer(sums, _all_sums(centred, int(chosen.sum()))).ravel()
        sums = np.abs(sums)
        return Tested(*(float((sums >= limit - slack).mean()) for limit in (observed, sums.max())))
    rng = np.random.default_rng(seed)
    sums = np.abs(sum((_random_sums(centred, int(chosen.sum()), rng) for centred, chosen in parts), np.zeros(DRAWS)))
    return Tested(float((1 + (sums >= observed - slack).sum()) / (DRAWS + 1)), 1 / (DRAWS + 1))


def _all_sums(values: Array, count: int) -> Array:
    return np.array([values[list(chosen)].sum() for chosen in itertools.combinations(range(len(values)), count)])


def _random_sums(values: Array, count: int, rng: np.random.Generator) -> Array:
    keys = rng.random((DRAWS, len(values)))
    return values[np.argpartition(keys, count - 1, axis=1)[:, :count]].sum(axis=1)

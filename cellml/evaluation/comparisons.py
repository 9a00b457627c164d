"""Many models against the best one: p corrected for how many they are, and how often each would come in which place."""

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
TOLD = 0.05  # corrected p from which an entry cannot be told from the best
DIGITS = 12  # scores that agree to these decimals are tied


def holm(p: npt.ArrayLike) -> Array:
    """Adjusted p-values that keep the chance of any false finding below the level (Holm 1979, Scand. J. Stat. 6:65).

    Of M p-values sorted ascending, the i-th becomes max over j <= i of min(1, (M - j + 1) p_j).

    Args:
        p: (M,); NaN where there is nothing to test, which does not count.

    Returns:
        (M,), NaN where `p` is.
    """
    given = np.asarray(p, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    adjusted = np.full(len(given), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)))
    return adjusted


def rank_probabilities(samples: Array, higher: bool = True) -> Array:
    """How often each model takes each place when the test groups are drawn anew.

    Args:
        samples: (R, M) scores of M models on the same R resamples; a resample that leaves one undefined is not counted.
        higher: whether the greater score is the better.

    Returns:
        (M, M), a row a model, a column a rank from the first; models that tie share their ranks evenly, so that rows
        and columns sum to 1. NaN where no resample counts.
    """
    defined = np.round(samples[np.isfinite(samples).all(axis=1)], DIGITS) * (-1 if higher else 1)
    models = samples.shape[1]
    if not len(defined):
        return np.full((models, models), np.nan)
    first = stats.rankdata(defined, method="min", axis=1).astype(np.int64) - 1
    last = stats.rankdata(defined, method="max", axis=1).astype(np.int64)
    share = 1 / (last - first)
    steps = np.zeros((models, models + 1))
    column = np.broadcast_to(np.arange(models), first.shape)
    np.add.at(steps, (column, first), share)
    np.add.at(steps, (column, last), -share)
    return np.clip(np.cumsum(steps, axis=1)[:, :models] / len(defined), 0, 1)


def expected_ranks(probabilities: Array) -> Array:
    """Mean rank of each model, (M,), counted from 1, from its rank probabilities (M, M)."""
    return probabilities @ np.arange(1, len(probabilities) + 1)

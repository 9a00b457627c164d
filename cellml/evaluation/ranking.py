"""What follows from the order of the scores: AUROC, average precision and their curves.

Rows carry weights `(N, R)`, one column a resample, so that the same lines score the rows once (R = 1, all ones) or
under many resamples of a bootstrap. Ties are treated as scikit-learn does: half a win in AUROC, one threshold in the
curves.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def auroc(scores: Array, positive: Mask, weights: Array) -> Array:
    """Probability that a positive row scores above a negative one, ties counting half (Mann-Whitney).

    Args:
        scores: (N,), higher means more positive.
        positive: (N,) bool.
        weights: (N, R), not negative.

    Returns:
        (R,); NaN where the positives or the negatives weigh nothing.
    """
    fewer, more = np.flatnonzero(positive), np.flatnonzero(~positive)
    swapped = len(fewer) > len(more)
    if swapped:
        fewer, more = more, fewer
    more = more[np.argsort(scores[more], kind="stable")]
    below = _accumulated(weights[more])
    left = np.searchsorted(scores[more], scores[fewer], side="left")
    right = np.searchsorted(scores[more], scores[fewer], side="right")
    chosen = weights[fewer]
    wins = (chosen * (below[left] + below[right])).sum(0) / 2
    pairs = chosen.sum(0) * below[-1]
    area = wins / np.where(pairs > 0, pairs, np.nan)
    return 1 - area if swapped else area


def average_precision(scores: Array, positive: Mask, weights: Array) -> Array:
    """Sum over thresholds of precision times the step in recall; no interpolation.

    Args:
        scores: (N,), higher means more positive.
        positive: (N,) bool.
        weights: (N, R), not negative.

    Returns:
        (R,); NaN where the positives weigh nothing.
    """
    hits, others = (
        rows[np.argsort(-scores[rows], kind="stable")] for rows in map(np.flatnonzero, (positive, ~positive))
    )
    chosen = weights[hits]
    true = _accumulated(chosen)[np.searchsorted(-scores[hits], -scores[hits], side="right")]
    false = _accumulated(weights[others])[np.searchsorted(-scores[others], -scores[hits], side="right")]
    called, total = true + false, chosen.sum(0)
    return (chosen * true / np.where(called > 0, called, 1)).sum(0) / np.where(total > 0, total, np.nan)


def curve(scores: Array, positive: Mask) -> tuple[Array, Array, Array]:
    """True and false positives at every distinct threshold, from the highest down.

    Args:
        scores: (N,).
        positive: (N,) bool.

    Returns:
        thresholds, true positives, false positives, each (T + 1,); a row is called positive at `score >= threshold`,
        and the first threshold, infinity, calls none.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if len(ranked) else np.array([], dtype=np.int64)
    true = np.cumsum(positive[order])[ends]
    return (
        np.append(np.inf, ranked[ends]),
        np.append(0.0, true.astype(np.float64)),
        np.append(0.0, (ends + 1 - true).astype(np.float64)),
    )


def _accumulated(weights: Array) -> Array:
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums

"""What follows from the order of the scores: AUROC, average precision and their curves.

Rows carry weights `(N, R)`, one column a resample, so that the same lines score the rows once (R = 1, all ones) or
under many resamples of a bootstrap. Ties are treated as scikit-learn does: half a win in AUROC, one threshold in the
curves.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
_CELLS = 2**18  # weights looked at together: 2 MiB, which stay in the processor's cache


def auroc(scores: Array, positive: Mask, weights: Array, rows: Rows | None = None) -> Array:
    """Probability that a positive row scores above a negative one, ties counting half (Mann-Whitney).

    Args:
        scores: (N,), higher means more positive.
        positive: (N,) bool.
        weights: (N, R), not negative; (G, R) with `rows`.
        rows: (N,) the row of `weights` that each score carries.

    Returns:
        (R,); NaN where the positives or the negatives weigh nothing.
    """
    rows = np.arange(len(scores)) if rows is None else rows
    fewer, more = np.flatnonzero(positive), np.flatnonzero(~positive)
    swapped = len(fewer) > len(more)
    if swapped:
        fewer, more = more, fewer
    more = more[np.argsort(scores[more], kind="stable")]
    places = _between(scores[more], scores[fewer])
    area = np.empty(weights.shape[1])
    for part in _blocks(weights.shape[1], len(scores)):
        below, chosen = _accumulated(weights[rows[more], part]), weights[rows[fewer], part]
        won = sum(np.einsum("ir,ir->r", chosen, below[at]) for at in places) / 2
        pairs = chosen.sum(0) * below[-1]
        area[part] = won / np.where(pairs > 0, pairs, np.nan)
    return 1 - area if swapped else area


def wins(scores: Array, positive: Mask, groups: Rows, count: int) -> Array:
    """How many pairs the positive rows of one group win against the negative rows of another, ties counting half.

    Args:
        scores: (N,), higher means more positive.
        positive: (N,) bool.
        groups: (N,) group index.
        count: G, the number of groups.

    Returns:
        (G, G), a row a group of positives: with groups drawn m times, (G,), AUROC is m W m over the pairs drawn.
    """
    over, under = np.flatnonzero(positive), np.flatnonzero(~positive)
    under = under[np.argsort(scores[under], kind="stable")]
    below = _accumulated((groups[under, None] == np.arange(count)).astype(np.float64))
    beaten = sum(below[at] / 2 for at in _between(scores[under], scores[over]))
    found = np.zeros((count, count))
    np.add.at(found, groups[over], beaten)
    return found


def average_precision(scores: Array, positive: Mask, weights: Array, rows: Rows | None = None) -> Array:
    """Sum over thresholds of precision times the step in recall; no interpolation.

    Args:
        scores: (N,), higher means more positive.
        positive: (N,) bool.
        weights: (N, R), not negative; (G, R) with `rows`.
        rows: (N,) the row of `weights` that each score carries.

    Returns:
        (R,); NaN where the positives weigh nothing.
    """
    rows = np.arange(len(scores)) if rows is None else rows
    hits, others = (of[np.argsort(-scores[of], kind="stable")] for of in map(np.flatnonzero, (positive, ~positive)))
    places = [np.searchsorted(-scores[of], -scores[hits], side="right") for of in (hits, others)]
    found = np.empty(weights.shape[1])
    for part in _blocks(weights.shape[1], len(scores)):
        chosen = weights[rows[hits], part]
        true = _accumulated(chosen)[places[0]]
        false = _accumulated(weights[rows[others], part])[places[1]]
        called, total = true + false, chosen.sum(0)
        found[part] = (chosen * true / np.where(called > 0, called, 1)).sum(0) / np.where(total > 0, total, np.nan)
    return found


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


def _blocks(columns: int, rows: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(rows, 1))
    return (slice(start, start + step) for start in range(0, columns, step))


def _between(ranked: Array, scores: Array) -> list[Rows]:
    """How many of the `ranked` scores, ascending, are smaller than each of others, and how many not greater."""
    return [np.searchsorted(ranked, scores, side="left"), np.searchsorted(ranked, scores, side="right")]


def _accumulated(weights: Array) -> Array:
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums

"""Which images a sheet shows."""

import numpy as np
import numpy.typing as npt

from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions


def select(predictions: Predictions, index: int, count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """A mix of right and wrong images of one class, the same at every call.

    A quarter each, what one group lacks going to the others: the class's own images found with the most confidence,
    those found with the least, those missed, and others' images taken for it. The most and the least confident are
    the extremes; of the wrong ones a random part is shown, not the worst.

    Args:
        predictions: of N images; those with an unknown target are left out.
        index: the class.
        count: how many at most.
        seed: of the random part.

    Returns:
        (<= count,) positions into the predictions: confident, borderline, missed, false alarms, each by falling
        probability of the class.

    Raises:
        UserError: a class that does not exist.
    """
    if not 0 <= index < len(predictions.classes):
        raise UserError(f"Expected a class index from 0 to {len(predictions.classes) - 1}, got {index}")
    rng = np.random.default_rng([seed, index])
    p = predictions.probabilities[:, index]
    own, said = predictions.targets == index, predictions.predicted == index
    known = predictions.targets >= 0
    right = _falling(np.flatnonzero(own & said), p)
    missed, alarms = np.flatnonzero(own & ~said), np.flatnonzero(known & ~own & said)
    top, low, misses, falses = _shares([(len(right) + 1) // 2, len(right) // 2, len(missed), len(alarms)], count)
    return np.concatenate(
        [
            right[:top],
            right[len(right) - low :],
            _falling(rng.permutation(missed)[:misses], p),
            _falling(rng.permutation(alarms)[:falses], p),
        ]
    ).astype(np.int64)


def _falling(rows: npt.NDArray[np.int64], p: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    rows = np.sort(rows)
    return rows[np.argsort(-p[rows], kind="stable")]


def _shares(sizes: list[int], count: int) -> list[int]:
    """How many of each group, as even as the groups allow, `count` in all where there are as many."""
    taken = [0] * len(sizes)
    for _ in range(min(max(count, 0), sum(sizes))):
        open_groups = [g for g, size in enumerate(sizes) if taken[g] < size]
        taken[min(open_groups, key=lambda g: taken[g])] += 1
    return taken

"""Which images a sheet shows, and in which of its groups they stand."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions

TRUE_POSITIVE, BORDERLINE = "true positive", "borderline"
FALSE_NEGATIVE, FALSE_POSITIVE, UNKNOWN = "false negative", "false positive", "unknown"
GROUPS = (TRUE_POSITIVE, BORDERLINE, FALSE_NEGATIVE, FALSE_POSITIVE, UNKNOWN)  # in the order they are shown


def select(predictions: Predictions, index: int, count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """A mix of right and wrong images of one class, the same at every call.

    A quarter each, what one group lacks going to the others: the class's own images found with the most confidence,
    those found with the least, those missed, and others' images taken for it. The most and the least confident are
    the extremes; of the wrong ones a random part is shown, not the worst. Where no image has a known class, a random
    part of those taken for the class.

    Args:
        predictions: of N images; where some targets are known, images with an unknown one are left out.
        index: the class.
        count: how many at most.
        seed: of the random part.

    Returns:
        (<= count,) positions into the predictions: confident, borderline, missed, false alarms, each by falling
        probability of the class. `groups(predictions, index)` at these positions says which is which.

    Raises:
        UserError: a class that does not exist.
    """
    group = groups(predictions, index)
    if (predictions.targets >= 0).any():
        group[group == UNKNOWN] = ""
    rng = np.random.default_rng([seed, index])
    p = predictions.probabilities[:, index]
    members = [np.flatnonzero(group == name) for name in GROUPS]
    taken = shares([len(rows) for rows in members], count)
    chosen = []
    for name, rows, most in zip(GROUPS, members, taken, strict=True):
        if name == TRUE_POSITIVE:
            part = _falling(rows, p)[:most]
        elif name == BORDERLINE:
            part = _falling(rows, p)[len(rows) - most :]
        else:
            part = _falling(rng.permutation(rows)[:most], p)
        chosen.append(part)
    return np.concatenate(chosen).astype(np.int64)


def groups(predictions: Predictions, index: int) -> npt.NDArray[np.object_]:
    """What each image is to one class.

    Args:
        predictions: of N images.
        index: the class.

    Returns:
        (N,) str: of the class's own images that were found the surer half are "true positive", the others
        "borderline"; "false negative" missed, "false positive" another's taken for it, "unknown" taken for it
        without a known class; "" for all others.

    Raises:
        UserError: a class that does not exist.
    """
    if not 0 <= index < len(predictions.classes):
        raise UserError(f"Expected a class index from 0 to {len(predictions.classes) - 1}, got {index}")
    own, said = predictions.targets == index, predictions.predicted == index
    known = predictions.targets >= 0
    result = np.full(len(predictions), "", dtype=object)
    right = _falling(np.flatnonzero(own & said), predictions.probabilities[:, index])
    result[right[: (len(right) + 1) // 2]] = TRUE_POSITIVE
    result[right[(len(right) + 1) // 2 :]] = BORDERLINE
    result[own & ~said] = FALSE_NEGATIVE
    result[known & ~own & said] = FALSE_POSITIVE
    result[~known & said] = UNKNOWN
    return result


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """How many of each group, as even as the groups allow, `count` in all where there are as many."""
    taken = [0] * len(sizes)
    for _ in range(min(max(count, 0), sum(sizes))):
        open_groups = [g for g, size in enumerate(sizes) if taken[g] < size]
        taken[min(open_groups, key=lambda g: taken[g])] += 1
    return taken


def _falling(rows: npt.NDArray[np.int64], p: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    rows = np.sort(rows)
    return rows[np.argsort(-p[rows], kind="stable")]

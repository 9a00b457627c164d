"""How well experts agree with each other: where labels come from their votes, what a model can be expected to reach."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cellml.evaluation import intervals, metrics
from cellml.evaluation.predictions import Predictions

Votes = npt.NDArray[np.int64]


class Agreement(NamedTuple):
    """One expert's balanced accuracy on the `n` images where he voted and the others, or all, have a majority."""

    expert: str
    truth: str  # "others": the majority of the other experts; "all": that of all, his own vote among them
    n: int
    balanced_accuracy: float
    low: float
    high: float


def agreement(
    votes: Mapping[str, Votes],
    classes: tuple[str, ...],
    groups: npt.NDArray[np.object_],
    resamples: int = 2000,
    seed: int = 0,
) -> list[Agreement]:
    """Balanced accuracy of each expert against the majority of the others, and against the majority of all.

    Images without a majority, or without his vote, do not count. The first is what an expert reaches against labels
    that he has no part in, as a model; the second is higher, as his own vote made the label.

    Args:
        votes: expert -> (N,) class index, -1 where he has not voted.
        classes: the K class names.
        groups: (N,) what may not be split; the 95 % intervals are of resampled groups.
        resamples: how many.
        seed: of the resamples.

    Returns:
        Two an expert; NaN where nothing counts, none with fewer than two experts.
    """
    if len(votes) < 2:
        return []
    given = {name: vote[:, None] == np.arange(len(classes)) for name, vote in votes.items()}
    total = np.sum(list(given.values()), axis=0)
    found = []
    for name, own in given.items():
        for truth, counts in (("others", total - own), ("all", total)):
            rows = np.flatnonzero(own.any(axis=1) & _decided(counts))
            figures = _scored(own[rows], counts[rows].argmax(axis=1), classes, groups[rows], resamples, seed)
            found.append(Agreement(name, truth, len(rows), *figures))
    return found


def _decided(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    top = counts.max(axis=1)
    return (top > 0) & ((counts == top[:, None]).sum(axis=1) == 1)


def _scored(
    said: npt.NDArray[np.bool_],
    truth: Votes,
    classes: tuple[str, ...],
    groups: npt.NDArray[np.object_],
    resamples: int,
    seed: int,
) -> tuple[float, float, float]:
    if not len(truth):
        return np.nan, np.nan, np.nan
    ids = np.arange(len(truth)).astype(str).astype(object)
    predictions = Predictions(ids, truth, said.astype(np.float64), groups, classes)
    name = "balanced_accuracy"
    interval = intervals.bootstrap(predictions, [name], resamples, seed)[name]
    return metrics.value(name, predictions), interval.low, interval.high

"""Means, medians and their kin of cells that come as often as their wells are drawn in a bootstrap."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_HELD = 2**21  # weights of cells held at once: 16 MiB
_HALVINGS = 64


@dataclass(frozen=True)
class Cells:
    """Scores of N cells in W wells.

    Attributes:
        values: (N,) finite scores.
        wells: (N,) place of each cell's well, from 0 to W - 1.
        count: W.
    """

    values: Array
    wells: npt.NDArray[np.int64]
    count: int

    @classmethod
    def alone(cls, values: Array) -> "Cells":
        """All in one well."""
        return cls(np.asarray(values, dtype=np.float64), np.zeros(len(values), dtype=np.int64), 1)

    @property
    def counts(self) -> Array:
        """Cells in each well, (W,)."""
        return self.sums(np.ones(len(self.values)))

    @property
    def size(self) -> float:
        """Largest absolute score."""
        return float(np.abs(self.values).max())

    @cached_property
    def ordered(self) -> tuple[Array, npt.NDArray[np.int64]]:
        """Scores in ascending order and their wells, (N,) each."""
        order = np.argsort(self.values, kind="stable")
        return self.values[order], self.wells[order]

    def sums(self, of: Array) -> Array:
        """Sum of a quantity of the cells, (N,), over each well, (W,)."""
        return np.bincount(self.wells, weights=of, minlength=self.count).astype(np.float64)


def moments(cells: Cells, drawn: Array) -> tuple[Array, Array]:
    """Mean and sample standard deviation, (R,) each, when wells are drawn (W, R) times; NaN of fewer than two cells."""
    centre = cells.values.mean()
    shifted = cells.values - centre
    n = cells.counts @ drawn
    total, squares = cells.sums(shifted) @ drawn, cells.sums(shifted**2) @ drawn
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
    return mean + centre, np.sqrt(np.where(n > 1, variance, np.nan))


def deviation(cells: Cells, drawn: Array) -> tuple[Array, Array]:
    """Median and median absolute deviation from it, (R,) each, when wells are drawn (W, R) times."""
    values, wells = cells.ordered
    parts = []
    step = max(1, _HELD // len(values))
    for start in range(0, drawn.shape[1], step):
        below = np.vstack([np.zeros(drawn[:, start : start + step].shape[1]), drawn[wells, start : start + step]])
        np.cumsum(below, axis=0, out=below)  # (N + 1, r): how many cells are among the n lowest
        parts.append(_deviation(values, below))
    medians, deviations = zip(*parts, strict=True)
    return np.concatenate(medians), np.concatenate(deviations)


def wins(positive: Cells, negative: Cells) -> Array:
    """How many pairs of cells the positive one wins, ties as half, by well of either, (P, Q)."""
    found = np.zeros((positive.count, negative.count))
    for q, low in _by_well(negative):
        below = np.searchsorted(low, positive.values, "left") + np.searchsorted(low, positive.values, "right")
        found[:, q] = positive.sums(below / 2)
    return found


def _by_well(cells: Cells) -> Iterator[tuple[int, Array]]:
    values, wells = cells.ordered
    order = np.argsort(wells, kind="stable")
    ends = np.cumsum(np.bincount(wells, minlength=cells.count))
    yield from enumerate(np.split(values[order], ends[:-1]))


def _deviation(values: Array, below: Array) -> tuple[Array, Array]:
    """Of ascending values (N,) and how many cells (N + 1, r) are among the n lowest."""
    total, columns = below[-1], np.arange(below.shape[1])
    medians = (_nth(values, below, np.ceil(total / 2)) + _nth(values, below, np.floor(total / 2) + 1)) / 2

    def within(radius: Array) -> Array:
        first, last = (
            np.searchsorted(values, medians - radius, "left"),
            np.searchsorted(values, medians + radius, "right"),
        )
        return below[last, columns] - below[first, columns]

    found = []
    for wanted in (np.ceil(total / 2), np.floor(total / 2) + 1):
        low, high = np.full(len(total), -1.0), np.full(len(total), values[-1] - values[0])
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            enough = within(middle) >= wanted
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        found.append(np.maximum(high, 0))
    deviations = (found[0] + found[1]) / 2
    empty = total == 0
    return np.where(empty, np.nan, medians), np.where(empty, np.nan, deviations)


def _nth(values: Array, below: Array, n: Array) -> Array:
    """The n-th lowest of the drawn cells, (r,)."""
    return values[np.minimum((below[1:] < n).sum(axis=0), len(values) - 1)]

"""The registry of sampling strategies and what they have in common.

A strategy is `f(rows: TrainingRows, rng, *, options) -> Sample`. It sees training rows alone and answers with
positions among them.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cellml.errors import UserError, near
from cellml.registry import Registry
from cellml.sampling.base import Sample, TrainingRows

STRATEGIES: Registry = Registry("sampling strategy")
MAKES = "makes new items"  # mark of strategies whose sample holds more than training rows as they are


def plain(positions: npt.ArrayLike, notes: Sequence[str] = ()) -> Sample:
    """Training rows as they are, (M,) positions, all of equal weight."""
    rows = np.asarray(positions, dtype=np.int64)
    return Sample(rows, np.ones(len(rows), dtype=np.float32), notes=tuple(notes))


def targeted(strategy: str, rows: TrainingRows, target: Sequence[str], otherwise: Sequence[int]) -> list[int]:
    """The classes that a strategy may add to or take from.

    Args:
        strategy: its name.
        rows: the training rows.
        target: names of classes; empty: the strategy's own choice.
        otherwise: that choice, class indices.

    Returns:
        Indices of classes with rows, in order.

    Raises:
        UserError: a name that no class has.
    """
    if isinstance(target, str) or not isinstance(target, Sequence):
        wrong(strategy, "target", "a list of classes", target)
    for name in target:
        if name not in rows.classes:
            raise UserError(f"Expected target classes of {strategy!r}, got {name!r}: {near(name, rows.classes)}")
    chosen = [rows.classes.index(name) for name in target] if target else otherwise
    return sorted({k for k in chosen if rows.counts[k]})


def added(strategy: str, rows: TrainingRows, ratio: float, target: Sequence[str]) -> dict[int, int]:
    """Rows that over-sampling adds to each class, so that it has `ratio` times the largest one's number.

    Args:
        strategy: its name.
        rows: the training rows.
        ratio: above 0, at most 1.
        target: the classes that may grow; empty: all.

    Returns:
        Class index -> number above 0, in class order; empty where fewer than two classes have rows.
    """
    check_share(strategy, "ratio", ratio)
    counts = rows.counts
    wanted = round(ratio * counts.max())
    chosen = targeted(strategy, rows, target, range(rows.num_classes))
    if (counts > 0).sum() < 2:
        return {}
    return {k: wanted - int(counts[k]) for k in chosen if wanted > counts[k]}


def check_share(strategy: str, name: str, value: object) -> None:
    """Refuse an option that is no number above 0 and at most 1."""
    if not _is_number(value) or not 0 < value <= 1:  # type: ignore[operator]
        wrong(strategy, name, "a number above 0, at most 1", value)


def check_power(strategy: str, name: str, value: object) -> None:
    """Refuse an option that is no number from 0 on."""
    if not _is_number(value) or not 0 <= value < np.inf:  # type: ignore[operator]
        wrong(strategy, name, "a number, 0 or above", value)


def check_whole(strategy: str, name: str, value: object) -> None:
    """Refuse an option that is no whole number from 1 on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        wrong(strategy, name, "a whole number, 1 or above", value)


def wrong(strategy: str, name: str, expected: str, value: object) -> None:
    """Refuse an option's value."""
    raise UserError(
        f"Expected option {name!r} of sampling strategy {strategy!r} to be {expected}, got {value!r}; "
        "correct sampling.options"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Strategies that leave out rows between the classes, by imbalanced-learn on our neighbours."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from imblearn.under_sampling import EditedNearestNeighbours, TomekLinks

from cellml.sampling.base import Sample, TrainingRows
from cellml.sampling.interpolate import points, smote
from cellml.sampling.members import MAKES, STRATEGIES, check_whole, plain, targeted
from cellml.sampling.neighbours import Neighbours, nearest
from cellml.sampling.repeat import random_over


@STRATEGIES.register("tomek")
def tomek(
    rows: TrainingRows,
    rng: np.random.Generator,
    *,
    space: str | None = None,
    target: Sequence[str] = (),
    may_empty: bool = False,
) -> Sample:
    """Leave out rows that are each other's nearest with a row of another class, except rows of the smallest class.

    A class that would lose all its rows keeps them, unless it `may_empty`. Tomek, "Two Modifications of CNN", 1976.
    """
    chosen = _larger("tomek", rows, target)
    if not chosen:
        return plain(np.arange(len(rows)))
    features = rows.space(space)
    _, found = nearest(features, features, 2)
    linked = TomekLinks.is_tomek(rows.targets, found[:, 1], chosen)
    kept, notes = _kept("tomek", rows, rows.targets, ~linked, may_empty)
    return plain(kept, notes)


@STRATEGIES.register("enn")
def enn(
    rows: TrainingRows,
    rng: np.random.Generator,
    *,
    k: int = 3,
    space: str | None = None,
    target: Sequence[str] = (),
    may_empty: bool = False,
) -> Sample:
    """Leave out rows that have a row of another class among their `k` nearest, except rows of the smallest class.

    A class that would lose all its rows keeps them, unless it `may_empty`.
    Wilson, "Asymptotic Properties of Nearest Neighbor Rules Using Edited Data", 1972.
    """
    check_whole("enn", "k", k)
    chosen = _larger("enn", rows, target)
    every = plain(np.arange(len(rows)))
    return _edited("enn", every, rows, chosen, k, space, may_empty) if chosen else every


@STRATEGIES.register("enn_over")
def enn_over(
    rows: TrainingRows,
    rng: np.random.Generator,
    *,
    k: int = 3,
    ratio: float = 1.0,
    space: str | None = None,
    target: Sequence[str] = (),
    may_empty: bool = False,
) -> Sample:
    """`enn`, then `random_over` of the rows that are left."""
    first = enn(rows, rng, k=k, space=space, target=target, may_empty=may_empty)
    left = replace(
        rows,
        ids=rows.ids[first.rows],
        targets=rows.targets[first.rows],
        groups=rows.groups[first.rows],
        soft_targets=None,
        spaces={},
    )
    then = random_over(left, rng, ratio=ratio, target=target)
    return replace(then, rows=first.rows[then.rows], notes=first.notes)


@STRATEGIES.register("smote_enn", MAKES)
def smote_enn(
    rows: TrainingRows,
    rng: np.random.Generator,
    *,
    k: int = 5,
    enn_k: int = 3,
    ratio: float = 1.0,
    space: str | None = None,
    target: Sequence[str] = (),
    may_empty: bool = False,
) -> Sample:
    """`smote`, then `enn` with `enn_k` neighbours on real and new items of all classes.

    A class that would lose all its items keeps them, unless it `may_empty`.
    Batista et al., "A Study of the Behavior of Several Methods for Balancing Training Data", 2004.
    """
    check_whole("smote_enn", "enn_k", enn_k)
    first = smote(rows, rng, k=k, ratio=ratio, space=space, target=target)
    chosen = targeted("smote_enn", rows, target, range(rows.num_classes))
    if (rows.counts > 0).sum() < 2:
        return first
    return _edited("smote_enn", first, rows, chosen, enn_k, space, may_empty)


def _larger(strategy: str, rows: TrainingRows, target: Sequence[str]) -> list[int]:
    """The classes to clean: those of `target`, or all but the smallest; none where only one class has rows."""
    counts = np.where(rows.counts > 0, rows.counts, len(rows) + 1)
    chosen = targeted(strategy, rows, target, [k for k in range(rows.num_classes) if k != counts.argmin()])
    return chosen if (rows.counts > 0).sum() > 1 else []


def _edited(
    strategy: str, sample: Sample, rows: TrainingRows, chosen: list[int], k: int, space: str | None, may_empty: bool
) -> Sample:
    """The items that edited nearest neighbours leaves of a sample without draws or transforms."""
    targets = rows.targets[sample.rows]
    near = min(k, len(sample) - 1)
    notes = [f"there are {len(sample)} rows: {near} neighbours instead of {k}"] if near < k else []
    cleaner = EditedNearestNeighbours(
        sampling_strategy=chosen, n_neighbors=Neighbours(rows.space(space), near + 1), kind_sel="all"
    )
    cleaner.fit_resample(points(sample, len(rows)), targets)
    mask = np.zeros(len(sample), dtype=bool)
    mask[cleaner.sample_indices_] = True
    kept, said = _kept(strategy, rows, targets, mask, may_empty)
    return Sample(
        rows=sample.rows[kept],
        weights=np.ones(len(kept), dtype=np.float32),
        partners=None if sample.partners is None else sample.partners[kept],
        mix=None if sample.mix is None else sample.mix[kept],
        notes=(*sample.notes, *notes, *said),
    )


def _kept(
    strategy: str, rows: TrainingRows, targets: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_], may_empty: bool
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Positions where a mask is true, and those of classes that would go; what was done about them."""
    notes = []
    for label in np.setdiff1d(targets, targets[mask]):
        did = "left no rows" if may_empty else "would leave no rows, all are kept"
        notes.append(f"class {rows.classes[label]}: {strategy} {did}")
        if not may_empty:
            mask = mask | (targets == label)
    return np.flatnonzero(mask), notes

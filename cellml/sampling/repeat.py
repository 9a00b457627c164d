"""Strategies that leave out, repeat or change training rows by chance or by their labels alone."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler

from cellml.data import offline
from cellml.errors import UserError
from cellml.sampling.base import Sample, TrainingRows
from cellml.sampling.members import MAKES, STRATEGIES, added, check_share, check_whole, plain, targeted


@STRATEGIES.register("none")
def none(rows: TrainingRows, rng: np.random.Generator) -> Sample:
    """Every training row once an epoch, all of equal weight."""
    return plain(np.arange(len(rows)))


@STRATEGIES.register("random_over")
def random_over(
    rows: TrainingRows, rng: np.random.Generator, *, ratio: float = 1.0, target: Sequence[str] = ()
) -> Sample:
    """Repeat random rows of the smaller classes until each has `ratio` times the largest one's number.

    All rows are kept, the repeats follow them. Soft labels count for their most probable class.
    """
    more = added("random_over", rows, ratio, target)
    return plain(repeated(rows.targets, more, int(rng.integers(2**31))))


@STRATEGIES.register("random_under")
def random_under(
    rows: TrainingRows, rng: np.random.Generator, *, ratio: float = 1.0, target: Sequence[str] = ()
) -> Sample:
    """Leave out random rows of the larger classes until the smallest has `ratio` times each one's number.

    Soft labels count for their most probable class; classes without rows do not count.
    """
    check_share("random_under", "ratio", ratio)
    counts = rows.counts
    most = round(counts[counts > 0].min() / ratio)
    chosen = targeted("random_under", rows, target, range(rows.num_classes))
    wanted = {k: min(int(counts[k]), most) for k in chosen}
    positions, state = np.arange(len(rows)), int(rng.integers(2**31))
    if (counts > 0).sum() < 2:
        return plain(positions)
    chooser = RandomUnderSampler(sampling_strategy=wanted, random_state=state)
    chooser.fit_resample(positions[:, None], rows.targets)
    return plain(np.sort(chooser.sample_indices_))


@STRATEGIES.register("augment_minority", MAKES)
def augment_minority(
    rows: TrainingRows, rng: np.random.Generator, *, factor: int = 4, target: Sequence[str] = ()
) -> Sample:
    """Add `factor` changed copies of every row of the smallest class, made offline by four transforms in turn.

    All rows are kept, the copies follow them. The transforms are those of `cellml.data.offline`, their random numbers
    start from the sample's seed. Of several classes with the fewest rows, all grow; where all classes have the same
    number, none does. Soft labels count for their most probable class.
    """
    check_whole("augment_minority", "factor", factor)
    counts = rows.counts
    smallest = np.flatnonzero((counts == counts[counts > 0].min()) & (counts < counts.max()))
    chosen = targeted("augment_minority", rows, target, smallest.tolist())
    copied = np.repeat(np.flatnonzero(np.isin(rows.targets, chosen)), factor)
    numbers = np.tile(np.arange(factor) % offline.TRANSFORMS + 1, len(copied) // factor)
    positions = np.concatenate([np.arange(len(rows)), copied])
    return Sample(
        rows=positions,
        weights=np.ones(len(positions), dtype=np.float32),
        transforms=np.concatenate([np.zeros(len(rows)), numbers]).astype(np.int8),
        seed=int(rng.integers(2**31)),
    )


@STRATEGIES.register("pure")
def pure(rows: TrainingRows, rng: np.random.Generator) -> Sample:
    """Leave out rows whose soft label is mixed; with hard labels, none.

    Raises:
        UserError: every row's label is mixed.
    """
    kept = np.flatnonzero(np.isin(rows.kinds, rows.classes))
    if not len(kept):
        raise UserError("Expected rows with pure labels for strategy 'pure', got mixed ones only; choose another one")
    return plain(kept)


def repeated(targets: npt.NDArray[np.int64], more: dict[int, int], state: int) -> npt.NDArray[np.int64]:
    """All positions, then random ones of some classes again, as imbalanced-learn's RandomOverSampler chooses them.

    Args:
        targets: (N,) class of each row, at least two classes where `more` is not empty.
        more: class -> how many.
        state: seed.
    """
    positions = np.arange(len(targets))
    if not more:
        return positions
    wanted = {k: int((targets == k).sum()) + n for k, n in more.items()}
    chooser = RandomOverSampler(sampling_strategy=wanted, random_state=state)
    chooser.fit_resample(positions[:, None], targets)
    return chooser.sample_indices_

"""Sampling strategies: which training rows a network sees, how often, and with which weight.

A strategy is `f(rows: TrainingRows, rng, *, options) -> Sample`. It sees training rows alone and answers with
positions among them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler

from cellml.errors import UserError
from cellml.registry import Registry
from cellml.sampling.base import Sample, TrainingRows

STRATEGIES: Registry = Registry("sampling strategy")


def resample(strategy: str, options: Mapping[str, Any], rows: TrainingRows, seed: int) -> Sample:
    """Apply a strategy by name.

    Args:
        strategy: a name in `STRATEGIES`.
        options: its keyword options.
        rows: the training rows.
        seed: the same seed gives the same sample.

    Raises:
        UserError: an unknown strategy or option, or an option's value out of range.
        ValueError: the strategy's answer breaks the contract.
    """
    chosen = STRATEGIES.options(strategy, dict(options))
    sample = STRATEGIES[strategy](rows, np.random.default_rng(seed), **chosen)
    _check(strategy, sample, rows)
    return sample


@STRATEGIES.register("none")
def none(rows: TrainingRows, rng: np.random.Generator) -> Sample:
    """Every training row once an epoch, all of equal weight."""
    return _plain(np.arange(len(rows)))


@STRATEGIES.register("random_over")
def random_over(rows: TrainingRows, rng: np.random.Generator, *, ratio: float = 1.0) -> Sample:
    """Repeat random rows of the smaller classes until each has `ratio` times the largest one's number.

    All rows are kept, the repeats follow them. Soft labels count for their most probable class.
    """
    _check_share("random_over", "ratio", ratio)
    counts = rows.counts
    wanted = {k: max(int(n), round(ratio * counts.max())) for k, n in enumerate(counts) if n}
    return _plain(_imbalanced(RandomOverSampler, wanted, rows, rng))


@STRATEGIES.register("random_under")
def random_under(rows: TrainingRows, rng: np.random.Generator, *, ratio: float = 1.0) -> Sample:
    """Leave out random rows of the larger classes until the smallest has `ratio` times each one's number.

    Soft labels count for their most probable class; classes without rows do not count.
    """
    _check_share("random_under", "ratio", ratio)
    counts = rows.counts
    most = round(counts[counts > 0].min() / ratio)
    wanted = {k: min(int(n), most) for k, n in enumerate(counts) if n}
    return _plain(np.sort(_imbalanced(RandomUnderSampler, wanted, rows, rng)))


@STRATEGIES.register("class_weights")
def class_weights(rows: TrainingRows, rng: np.random.Generator, *, power: float = 1.0) -> Sample:
    """Every row once an epoch, its loss weighted by (rows / rows of its class) ** `power`, mean 1.

    With soft labels a class's rows are its summed probability, and a row's weight the mean over its own labels.
    """
    _check_power("class_weights", power)
    soft = rows.soft_targets
    labels = np.eye(rows.num_classes)[rows.targets] if soft is None else soft
    mass = labels.sum(axis=0)
    of_class = np.where(mass > 0, (len(rows) / np.where(mass > 0, mass, 1.0)) ** power, 0.0)
    weights = labels @ of_class
    return Sample(np.arange(len(rows)), (weights / weights.mean()).astype(np.float32))


@STRATEGIES.register("balanced")
def balanced(rows: TrainingRows, rng: np.random.Generator, *, power: float = 1.0) -> Sample:
    """Draw rows with replacement, anew each epoch, with probability 1 / (rows of its class) ** `power`.

    At power 1 all classes are drawn equally often on average. Soft labels count for their most probable class.
    """
    _check_power("balanced", power)
    share = rows.counts[rows.targets].astype(np.float64) ** -power
    every = _plain(np.arange(len(rows)))
    return Sample(every.rows, every.weights, draw=share / share.sum())


def _plain(positions: npt.NDArray[np.int64]) -> Sample:
    return Sample(np.asarray(positions, dtype=np.int64), np.ones(len(positions), dtype=np.float32))


def _imbalanced(
    sampler: type[RandomOverSampler] | type[RandomUnderSampler],
    wanted: dict[int, int],
    rows: TrainingRows,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    positions = np.arange(len(rows))
    if len(wanted) < 2:
        return positions
    chooser = sampler(sampling_strategy=wanted, random_state=int(rng.integers(2**31)))
    chooser.fit_resample(positions[:, None], rows.targets)
    return chooser.sample_indices_


def _check_share(strategy: str, option: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise UserError(f"Expected option {option!r} of sampling strategy {strategy!r} above 0 up to 1, got {value!r}")


def _check_power(strategy: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10:
        raise UserError(f"Expected option 'power' of sampling strategy {strategy!r} from 0 to 10, got {value!r}")


def _check(strategy: str, sample: Sample, rows: TrainingRows) -> None:
    shape = sample.rows.shape
    if sample.rows.ndim != 1 or not shape[0] or sample.weights.shape != shape:
        raise ValueError(f"strategy {strategy!r} answered rows {shape} and weights {sample.weights.shape}")
    if sample.rows.min() < 0 or sample.rows.max() >= len(rows):
        raise ValueError(f"strategy {strategy!r} answered rows outside the training rows")
    if not (sample.weights > 0).all() or not np.isclose(sample.weights.mean(), 1, atol=1e-4):
        raise ValueError(f"strategy {strategy!r} answered weights that are not positive with mean 1")
    if sample.draw is not None and (sample.draw.shape != shape or not np.isclose(sample.draw.sum(), 1)):
        raise ValueError(f"strategy {strategy!r} answered drawing probabilities that do not sum to 1")

"""Strategies that see every training row, some more often or with more weight than others."""

import numpy as np
import numpy.typing as npt

from cellml.sampling.base import Sample, TrainingRows
from cellml.sampling.members import STRATEGIES, check_power, plain, wrong


@STRATEGIES.register("class_weights")
def class_weights(rows: TrainingRows, rng: np.random.Generator, *, power: float = 1.0) -> Sample:
    """Every row once an epoch, its loss weighted by (rows / rows of its class) ** `power`, mean 1.

    With soft labels a class's rows are its summed probability, and a row's weight the mean over its own labels.
    """
    check_power("class_weights", "power", power)
    mass = rows.labels.sum(axis=0)
    return _weighted(rows, (len(rows) / np.where(mass > 0, mass, 1.0)) ** power)


@STRATEGIES.register("effective_weights")
def effective_weights(rows: TrainingRows, rng: np.random.Generator, *, beta: float = 0.999) -> Sample:
    """Every row once an epoch, its loss weighted by 1 / its class's effective number of rows, mean 1.

    The effective number of n rows is (1 - beta ** n) / (1 - beta): 1 at beta 0, n as beta goes to 1. With soft labels
    n is a class's summed probability, and a row's weight the mean over its own labels.
    Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019.
    """
    if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 <= beta < 1:
        wrong("effective_weights", "beta", "a number from 0 to below 1", beta)
    mass = rows.labels.sum(axis=0)
    if beta == 0:
        return _weighted(rows, np.ones(rows.num_classes))
    return _weighted(rows, (1 - beta) / -np.expm1(np.where(mass > 0, mass, 1.0) * np.log(beta)))


@STRATEGIES.register("balanced")
def balanced(rows: TrainingRows, rng: np.random.Generator, *, power: float = 1.0) -> Sample:
    """Draw rows with replacement, anew each epoch, with probability 1 / (rows of its class) ** `power`.

    At power 1 all classes are drawn equally often on average. Soft labels count for their most probable class.
    """
    check_power("balanced", "power", power)
    share = rows.counts[rows.targets].astype(np.float64) ** -power
    every = plain(np.arange(len(rows)))
    return Sample(every.rows, every.weights, draw=share / share.sum())


def _weighted(rows: TrainingRows, of_class: npt.NDArray[np.float64]) -> Sample:
    weights = rows.labels @ of_class
    return Sample(np.arange(len(rows)), (weights / weights.mean()).astype(np.float32))

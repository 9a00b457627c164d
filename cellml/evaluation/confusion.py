"""Confusion matrices and what follows from them, on one matrix or a stack of them.

Rows are true classes, columns predicted ones. Every function takes `(..., K, K)` counts, so that the same lines score
one set of predictions and ten thousand resamples of it.

A class without rows in the targets ("absent") has NaN for each of its own figures, even where it was predicted, and
averages run over the present classes, the way scikit-learn's `balanced_accuracy_score` does.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def matrix(targets: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int) -> Array:
    """Counts of true against predicted class.

    Args:
        targets: (N,) class index.
        predicted: (N,) class index.
        classes: K.

    Returns:
        (K, K) float64.
    """
    flat = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.float64)


def accuracy(counts: Array) -> Array:
    """Share of rows on the diagonal, (...)."""
    return _diagonal(counts).sum(-1) / counts.sum((-2, -1))


def recall(counts: Array) -> Array:
    """TP / (TP + FN) of each class, (..., K); NaN for an absent class."""
    support = counts.sum(-1)
    return _ratio(_diagonal(counts), support, support)


def precision(counts: Array) -> Array:
    """TP / (TP + FP) of each class, (..., K); 0 for a present class never predicted, NaN for an absent one."""
    return _ratio(_diagonal(counts), counts.sum(-2), counts.sum(-1))


def f1(counts: Array) -> Array:
    """2 TP / (2 TP + FP + FN) of each class, (..., K); NaN for an absent class."""
    support = counts.sum(-1)
    return _ratio(2 * _diagonal(counts), support + counts.sum(-2), support)


def macro(figures: Array) -> Array:
    """Mean over the classes that have a figure, (..., K) -> (...); NaN where none has."""
    has = np.isfinite(figures)
    return _ratio(np.where(has, figures, 0.0).sum(-1), has.sum(-1), has.sum(-1))


def weighted(figures: Array, counts: Array) -> Array:
    """Mean of (..., K) figures over classes, weighted by their rows in the targets, (...)."""
    support = counts.sum(-1)
    return (np.where(support > 0, figures, 0.0) * support).sum(-1) / support.sum(-1)


def mcc(counts: Array) -> Array:
    """Matthews' correlation for K classes (Gorodkin 2004, Comput. Biol. Chem. 28:367), (...).

    0 where targets or predictions are constant, as scikit-learn has it.
    """
    true, said, total = counts.sum(-1), counts.sum(-2), counts.sum((-2, -1))
    covariance = _diagonal(counts).sum(-1) * total - (true * said).sum(-1)
    variances = (total**2 - (true**2).sum(-1)) * (total**2 - (said**2).sum(-1))
    return covariance / np.sqrt(np.where(variances > 0, variances, np.inf))


def _diagonal(counts: Array) -> Array:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _ratio(numerator: Array, denominator: npt.NDArray, support: npt.NDArray) -> Array:
    value = numerator / np.where(denominator > 0, denominator, 1)
    return np.where(support > 0, value, np.nan)

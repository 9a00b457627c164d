"""DeLong's test of two AUROCs on the same images. It takes every image for independent of the others: no groups."""

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


def p_values(scores: Array, positive: npt.NDArray[np.bool_]) -> Array:
    """Two-sided p of the difference between each model's AUROC and the first one's.

    DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837, with the midranks of Sun and Xu 2014, IEEE Signal
    Process. Lett. 21:1389.

    Args:
        scores: (M, N), a row a model; higher means more positive.
        positive: (N,) bool.

    Returns:
        (M,); 1 where two models order the images alike, NaN for the first and with fewer than two images of a kind.
    """
    areas, covariance = moments(scores, positive)
    difference = areas - areas[0]
    variance = covariance[0, 0] + np.diag(covariance) - 2 * covariance[0]
    alike = (np.abs(variance) < 1e-15) & (np.abs(difference) < 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(alike, 0.0, np.abs(difference) / np.sqrt(np.maximum(variance, 0)))
    p = 2 * stats.norm.sf(z)
    p[0] = np.nan
    return p


def moments(scores: Array, positive: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """AUROCs of M models and the covariance of these estimates.

    Args:
        scores: (M, N), a row a model; higher means more positive.
        positive: (N,) bool.

    Returns:
        areas (M,) and covariance (M, M); NaN with fewer than two positive or two negative images.
    """
    models, (over, under) = len(scores), (scores[:, positive], scores[:, ~positive])
    m, n = over.shape[1], under.shape[1]
    if min(m, n) < 2:
        return np.full(models, np.nan), np.full((models, models), np.nan)
    together = stats.rankdata(np.hstack([over, under]), axis=1)
    wins = (together[:, :m] - stats.rankdata(over, axis=1)) / n  # V10: what share of the negatives each positive beats
    losses = 1 - (together[:, m:] - stats.rankdata(under, axis=1)) / m  # V01: what share of the positives beat it
    covariance = np.atleast_2d(np.cov(wins)) / m + np.atleast_2d(np.cov(losses)) / n
    return wins.mean(axis=1), covariance

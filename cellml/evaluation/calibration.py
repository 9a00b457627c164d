"""How far stated probabilities are from observed frequencies."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
BINS = 15


def bins(probabilities: Array) -> npt.NDArray[np.int64]:
    """Which of the 15 equal-width bins ((m - 1) / 15, m / 15] holds each row's highest probability, (N, K) -> (N,)."""
    inner = np.arange(1, BINS) / BINS
    return np.searchsorted(inner, probabilities.max(axis=1), side="left").astype(np.int64)


def gaps(probabilities: Array, correct: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], Array]:
    """Each row's bin, and correct (0 or 1) minus confidence.

    Args:
        probabilities: (N, K).
        correct: (N,) whether the most probable class is the true one.

    Returns:
        bins (N,) and gaps (N,). Gaps summed within bins, made absolute, summed over bins and divided by N are the
        expected calibration error of the highest probability (Naeini, Cooper and Hauskrecht 2015, AAAI; Guo et al.
        2017, ICML, eq. 5).
    """
    return bins(probabilities), correct - probabilities.max(axis=1)


def wilson(successes: npt.NDArray, count: npt.NDArray, z: float = 1.96) -> tuple[Array, Array]:
    """95 % score interval of a proportion (Wilson 1927), for the error bars of a reliability figure.

    Args:
        successes: (M,).
        count: (M,), positive.
        z: normal quantile.

    Returns:
        lower and upper bound, (M,) each.
    """
    share = successes / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return centre - half, centre + half

"""How far stated probabilities are from observed frequencies, and the temperature that brings them nearer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions

Array = npt.NDArray[np.float64]
BINS = 15
_FARTHEST = 50.0  # offsets over temperature
COLDEST, HOTTEST = 0.05, 20.0  # temperatures; validation rows that are all right, or all wrong, would have no best one


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


def temperature(validation: Predictions) -> float:
    """The temperature T whose p^(1/T), made to sum to 1, have the smallest log-loss (Guo et al. 2017, ICML, sec. 4.2).

    Args:
        validation: predictions at temperature 1; where labels are soft, the soft cross-entropy of all rows counts.

    Returns:
        T in 0.05..20; above 1 where the probabilities are too sure.

    Raises:
        UserError: no row has a known label, or a probability is not finite.
    """
    known = validation if validation.soft_targets is not None else validation.labelled
    if not len(known) or not np.isfinite(known.probabilities).all():
        raise UserError(
            f"Expected finite probabilities of validation rows to calibrate on, got {len(known)} rows of known label; "
            "set train.calibrate: none"
        )
    logits, truth = np.log(np.maximum(known.probabilities, np.finfo(np.float64).tiny)), known.truth

    def loss(log_t: float) -> float:
        return -float((truth * special.log_softmax(logits / np.exp(log_t), axis=1)).sum(1).mean())

    # convex in 1/T, so with one minimum in log T
    found = optimize.minimize_scalar(
        loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def balanced(validation: Predictions) -> tuple[float, tuple[float, ...]]:
    """Temperature T and an offset o a class that make probabilities those of equally frequent classes.

    The (p e^o)^(1/T), made to sum to 1, have the smallest log-loss with every class weighted the same. Their most
    probable class then serves balanced accuracy, whatever frequencies, weights or soft labels the network learnt from.
    With two classes it is Platt scaling (Platt 1999) of the log-odds on reweighted rows.

    Args:
        validation: predictions at temperature 1; the rows of known class count.

    Returns:
        T in 0.05..20, and K offsets that sum to 0; a class without rows keeps 0.

    Raises:
        UserError: no row has a known label, or a probability is not finite.
    """
    known = validation.labelled
    if not len(known) or not np.isfinite(known.probabilities).all():
        raise UserError(
            f"Expected finite probabilities of validation rows to calibrate on, got {len(known)} rows of known label; "
            "set train.calibrate: none"
        )
    logs = np.log(np.maximum(known.probabilities, np.finfo(np.float64).tiny))
    counts = np.bincount(known.targets, minlength=len(known.classes))
    weights = 1 / counts[known.targets] / (counts > 0).sum()
    free = np.flatnonzero(counts)

    def loss(x: Array) -> tuple[float, Array]:
        shift = np.zeros(len(counts))
        shift[free] = x[1:]
        scaled = special.log_softmax(x[0] * logs + shift, axis=1)
        wrong = np.exp(scaled)
        wrong[np.arange(len(wrong)), known.targets] -= 1
        wrong *= weights[:, None]
        value = -float(weights @ scaled[np.arange(len(scaled)), known.targets])
        return value, np.concatenate([[float((wrong * logs).sum())], wrong.sum(0)[free]])

    bounds = [(1 / HOTTEST, 1 / COLDEST), *[(-_FARTHEST, _FARTHEST)] * len(free)]
    start = np.concatenate([[1.0], np.zeros(len(free))])
    found = optimize.minimize(
        loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500}
    )
    shift = np.zeros(len(counts))
    shift[free] = found.x[1:] - found.x[1:].mean()
    return 1 / float(found.x[0]), tuple((shift / found.x[0]).tolist())


def heated(probabilities: Array, temperature: float, offsets: Sequence[float] = ()) -> Array:
    """Probabilities (p e^o)^(1/T), (N, K), made to sum to 1; without offsets p^(1/T)."""
    logs = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return special.softmax((logs + np.array(offsets or 0.0)) / temperature, axis=1)


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

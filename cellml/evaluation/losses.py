"""What metrics of probabilities average: a loss of each row."""

import numpy as np
import numpy.typing as npt
from scipy import special

from cellml.evaluation.predictions import Predictions


def log_losses(predictions: Predictions) -> npt.NDArray[np.float64]:
    """Log-loss of each row, (N,) in nats; probabilities below 2.2e-16 count as that, so that a loss stays finite."""
    return -_log(predictions.probabilities[np.arange(len(predictions)), predictions.targets])


def soft_losses(name: str, predictions: Predictions) -> npt.NDArray[np.float64]:
    """What a metric of `metrics.SOFT` averages over rows, (N,): its own term, or squared errors summed over classes.

    Args:
        name: soft_cross_entropy or kl, of probabilities clipped as by `log_losses`; brier or rmse.
        predictions: N rows of known label, hard or soft.
    """
    t, p = predictions.truth, predictions.probabilities
    if name in ("brier", "rmse"):
        return ((t - p) ** 2).sum(axis=1)
    cross = -(t * _log(p)).sum(axis=1)
    return cross + special.xlogy(t, t).sum(axis=1) if name == "kl" else cross


def _log(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.log(np.clip(probabilities, np.finfo(np.float64).eps, 1))

"""The operating point of a two-class model, tuned on validation rows; scores by the most likely class stay primary."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cellml.errors import UserError, near
from cellml.evaluation import ranking
from cellml.evaluation.predictions import Predictions


def operating_threshold(predictions: Predictions) -> dict[str, float]:
    """The threshold on the rarer class's probability with the best balanced accuracy.

    An image is called the rarer class where its probability is at least the threshold. Candidates lie half-way between
    neighbouring probabilities (Youden 1950, Cancer 3:32, maximises the same sum of recalls); of equally good ones the
    nearest to 0.5 is taken.

    Args:
        predictions: validation rows; those of unknown target are left out.

    Returns:
        {rarer class: threshold in 0..1}, the second class where both are as frequent; 0.5 where a class has no rows;
        empty unless there are two classes.
    """
    if len(predictions.classes) != 2:
        return {}
    known = predictions.labelled
    counts = np.bincount(known.targets, minlength=2)
    rare = 0 if counts[0] < counts[1] else 1
    name = predictions.classes[rare]
    if counts.min() == 0:
        return {name: 0.5}
    cuts, true, false = (steps[1:] for steps in ranking.curve(known.probabilities[:, rare], known.targets == rare))
    quality = true / true[-1] - false / false[-1]
    lower = np.append(cuts[1:], 0.0)
    threshold = (cuts + lower) / 2
    threshold = np.where(threshold > lower, threshold, cuts)
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    return {name: float(threshold[best[np.abs(threshold[best] - 0.5).argmin()]])}


def predicted(predictions: Predictions, thresholds: Mapping[str, float]) -> npt.NDArray[np.int64]:
    """Classes under an operating threshold instead of the most probable ones, (N,) class index.

    Args:
        predictions: two classes.
        thresholds: of `operating_threshold`; empty: the most probable class.

    Raises:
        UserError: a threshold for a class that there is not, or for more than one of two classes.
    """
    if not thresholds:
        return predictions.predicted
    (name, threshold), *more = thresholds.items()
    if name not in predictions.classes:
        raise UserError(f"Expected a threshold for one of the classes, got {name!r}: {near(name, predictions.classes)}")
    if more or len(predictions.classes) != 2:
        raise UserError(
            f"Expected one threshold and two classes, got {len(thresholds)} and {len(predictions.classes)}; "
            "leave thresholds out for any other number"
        )
    k = predictions.classes.index(name)
    return np.where(predictions.probabilities[:, k] >= threshold, k, 1 - k).astype(np.int64)

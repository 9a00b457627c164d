"""The operating point of a model, tuned on validation rows; scores by the most likely class stay primary.

Two classes have one threshold, on the rarer one's probability. More classes have one each, t_k > 0, and an image is
called the class with the greatest p_k / t_k: with two classes, t and 1 - t, that is p >= t again.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cellml.errors import UserError, near
from cellml.evaluation import ranking
from cellml.evaluation.predictions import Predictions

Array = npt.NDArray[np.float64]
SWEEPS = 100  # over all classes, at most; a handful is usual
APART = 1e-9  # relative distance below which two rows are not told apart, as rounding would undo it
TIE = 1e-12  # balanced accuracies that differ by less are equal


def operating_threshold(predictions: Predictions) -> dict[str, float]:
    """The thresholds with the best balanced accuracy.

    Of two classes: candidates lie half-way between neighbouring probabilities (Youden 1950, Cancer 3:32, maximises the
    same sum of recalls); of equally good ones the nearest to 0.5 is taken. Of more: coordinate ascent from 1/K, that
    is from the most probable class; each class's threshold in turn moves to its best value given the others, until no
    one of them can improve, so that they are never worse than the most probable class on these rows.

    Args:
        predictions: validation rows; those of unknown target are left out.

    Returns:
        Of two classes {rarer class: threshold in 0..1}, the second class where both are as frequent; 0.5 where a class
        has no rows. Of more {class: threshold} for each, summing to 1; that of a class without rows is not tuned.
        Empty for fewer than two.
    """
    known = predictions.labelled
    counts = np.bincount(known.targets, minlength=len(known.classes))
    if len(counts) < 2:
        return {}
    if len(counts) > 2:
        return dict(zip(known.classes, _ascend(known, counts).tolist(), strict=True))
    rare = 0 if counts[0] < counts[1] else 1
    name = predictions.classes[rare]
    if counts.min() == 0:
        return {name: 0.5}
    cuts, true, false = (steps[1:] for steps in ranking.curve(known.probabilities[:, rare], known.targets == rare))
    quality = true / true[-1] - false / false[-1]
    lower = np.append(cuts[1:], 0.0)
    threshold = (cuts + lower) / 2
    threshold = np.where(threshold > lower, threshold, cuts)
    best = np.flatnonzero(quality >= quality.max() - TIE)
    return {name: float(threshold[best[np.abs(threshold[best] - 0.5).argmin()]])}


def predicted(predictions: Predictions, thresholds: Mapping[str, float]) -> npt.NDArray[np.int64]:
    """Classes under operating thresholds instead of the most probable ones, (N,) class index.

    Args:
        predictions: N rows.
        thresholds: of `operating_threshold`: of one of two classes (p >= t), or of every class (greatest p_k / t_k, of
            equal ones the first); empty: the most probable class.

    Raises:
        UserError: a threshold for a class that there is not, for some of more than two classes, or not above 0.
    """
    if not thresholds:
        return predictions.predicted
    classes = predictions.classes
    for name in thresholds:
        if name not in classes:
            raise UserError(f"Expected thresholds for the classes, got {name!r}: {near(name, classes)}")
    if len(thresholds) == len(classes):
        cuts = np.array([thresholds[name] for name in classes])
        if not (cuts > 0).all():
            raise UserError(f"Expected thresholds above 0, got {dict(thresholds)}; register the model again")
        return (predictions.probabilities / cuts).argmax(axis=1)
    if len(classes) != 2:
        raise UserError(
            f"Expected a threshold for every class, or for one of two, got {len(thresholds)} for {len(classes)} "
            "classes; register the model again"
        )
    ((name, threshold),) = thresholds.items()
    k = classes.index(name)
    return np.where(predictions.probabilities[:, k] >= threshold, k, 1 - k).astype(np.int64)


def _ascend(known: Predictions, counts: npt.NDArray[np.int64]) -> Array:
    """Thresholds (K,) that sum to 1, each of a class with rows the best one given the others."""
    weights = 1 / counts[known.targets]
    thresholds = np.full(len(counts), 1 / len(counts))
    for _ in range(SWEEPS):
        before = thresholds.copy()
        for k in np.flatnonzero(counts):
            thresholds[k] = _best(known, weights, thresholds, int(k))
        if (thresholds == before).all():
            break
    return thresholds / thresholds.sum()


def _best(known: Predictions, weights: Array, thresholds: Array, k: int) -> float:
    """The best threshold of class k given the others; the present one where no other is better.

    A row is called k where p_k / (max of the others' p_j / t_j) reaches the threshold, else as without k; so the sum of
    recalls is a step function of it, and every step is looked at.
    """
    scores = known.probabilities / thresholds
    called = scores.argmax(axis=1) == k
    scores[:, k] = -1.0
    other, rest = scores.argmax(axis=1), scores.max(axis=1)
    p = known.probabilities[:, k]
    ratio = np.divide(p, rest, out=np.where(p > 0, np.inf, 0.0), where=rest > 0)
    change = weights * ((known.targets == k).astype(float) - (known.targets == other))  # when a row becomes k
    order = np.argsort(-ratio, kind="stable")
    upper = np.append(np.inf, ratio[order])  # infinity: only rows that nothing else claims are called k
    lower = np.append(upper[1:], 0.0)
    candidates = np.where(np.isinf(upper), 2 * lower, (upper + lower) / 2)
    usable = (lower < upper * (1 - APART)) & (candidates > 0)
    values, candidates = np.append(0.0, change[order]).cumsum()[usable], candidates[usable]
    if values.max(initial=-np.inf) <= change[called].sum() + TIE:
        return float(thresholds[k])
    best = np.flatnonzero(values >= values.max() - TIE)
    return float(candidates[best[np.abs(np.log(candidates[best] / thresholds[k])).argmin()]])

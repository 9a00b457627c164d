"""Several models' predictions of the same images as one, and the weights they get by their validation scores."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.evaluation.predictions import Predictions
from cellml.registry import Registry

Array = npt.NDArray[np.float64]
RULES: Registry[Callable[[Sequence[Predictions], str], Array]] = Registry("ensemble rule")
ROUNDS = 50  # members that greedy selection adds at most, repeated ones counted
TIE = 1e-12  # scores that differ by less are equal


def combine(predictions: Sequence[Predictions], weights: npt.ArrayLike) -> Predictions:
    """The weighted mean of M models' probabilities of the same N images.

    Args:
        predictions: M of them, with the same images in the same order.
        weights: (M,), none negative; they are scaled to sum to 1.

    Raises:
        UserError: none, or predictions of other images or classes than the first's.
    """
    check(predictions)
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (len(predictions),) or not (given >= 0).all() or not 0 < given.sum() < np.inf:
        raise ValueError(f"expected {len(predictions)} weights, none negative and not all 0, got {given}")
    share = given / given.sum()
    stacked = np.stack([one.probabilities for one in predictions])
    return replace(predictions[0], probabilities=np.tensordot(share, stacked, axes=1))


def weigh(rule: str, predictions: Sequence[Predictions], metric: str = "balanced_accuracy") -> Array:
    """Weights of M models from their predictions of the same validation rows.

    Args:
        rule: a member of RULES.
        predictions: M of them, with the same images in the same order.
        metric: what greedy selection improves; any metric, per-class ones such as `recall_<class>` among them.

    Returns:
        (M,) float64, none negative, summing to 1.

    Raises:
        UserError: an unknown rule or metric, no known target, or as `combine`.
    """
    check(predictions)
    weights = RULES[rule](predictions, metric)
    return weights / weights.sum()


def check(predictions: Sequence[Predictions]) -> None:
    """Refuse predictions that are not of the same images and classes.

    Raises:
        UserError: none, or others than the first's.
    """
    if not predictions:
        raise UserError("Expected predictions to combine, got none; name at least one model")
    first = predictions[0]
    for place, other in enumerate(predictions[1:], start=2):
        if other.classes != first.classes:
            raise UserError(
                f"Expected predictions of the classes {list(first.classes)}, got {list(other.classes)} as number "
                f"{place}; combine models of the same classes"
            )
        if not (np.array_equal(other.ids, first.ids) and np.array_equal(other.targets, first.targets)):
            raise UserError(
                f"Expected predictions of the same images in the same order, got others as number {place}; "
                "let every model predict the same rows"
            )


@RULES.register("mean")
def mean(predictions: Sequence[Predictions], metric: str) -> Array:
    """Every model counts the same."""
    return np.ones(len(predictions))


@RULES.register("accuracy")
def accuracy(predictions: Sequence[Predictions], metric: str) -> Array:
    """Weights in proportion to validation accuracy."""
    return _in_proportion([metrics.accuracy(one) for one in predictions])


@RULES.register("f1_macro")
def f1_macro(predictions: Sequence[Predictions], metric: str) -> Array:
    """Weights in proportion to the mean F1 over the classes on validation rows."""
    return _in_proportion([metrics.f1_macro(one) for one in predictions])


@RULES.register("greedy")
def greedy(predictions: Sequence[Predictions], metric: str) -> Array:
    """Models added one at a time, with replacement, each the one that improves the validation metric most.

    Forward selection of Caruana et al. 2004 (ICML, "Ensemble selection from libraries of models"): it starts from the
    best model, and of all ensembles on its way, 50 members long, the best one is kept. Ties go to the earlier model and
    to the smaller ensemble. Models that were never chosen weigh 0.
    """
    known = [metrics.scorable(one, soft=metric in metrics.SOFT) for one in predictions]
    sign = 1 if metrics.higher_is_better(metric) else -1
    total = np.zeros_like(known[0].probabilities)
    counts, kept, top = np.zeros(len(known)), np.zeros(len(known)), -np.inf
    for size in range(1, ROUNDS + 1):
        scores = np.array(
            [
                sign * metrics.value(metric, replace(one, probabilities=(total + one.probabilities) / size))
                for one in known
            ]
        )
        if not np.isfinite(scores).all():
            raise UserError(
                f"Expected the metric {metric!r} to have a value on the validation rows, got NaN; choose another metric"
            )
        best = int(np.flatnonzero(scores >= scores.max() - TIE)[0])
        total += known[best].probabilities
        counts[best] += 1
        if scores[best] > top + TIE:
            top, kept = scores[best], counts.copy()
    return kept


def _in_proportion(scores: Sequence[float]) -> Array:
    return np.array(scores) if sum(scores) > 0 else np.ones(len(scores))

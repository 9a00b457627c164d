"""Figures of merit: predictions in, one number out.

Rows whose target is unknown (-1) are left out; where labels are soft, the metrics in SOFT score them all, as an image
of a known mixture has a label without having a known class. A class without rows in the targets has NaN for its own
figures, never a 0 that could be taken for a score, and macro averages run over the present classes; a present class
that was never predicted has precision and F1 of 0, as in scikit-learn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cellml.errors import UserError, near
from cellml.evaluation import calibration, confusion, losses, populations, ranking, segments
from cellml.evaluation.predictions import Predictions
from cellml.registry import Registry

METRICS: Registry[Callable[[Predictions], float]] = Registry("metric")
PER_CLASS = ("precision", "recall", "f1", "auroc")  # each gives <name>_<class>
SOFT = ("soft_cross_entropy", "brier", "rmse", "kl", "composition_rmse")  # metrics of label probabilities
LOWER = {"log_loss", "ece", *SOFT}  # metrics whose smaller value is the better one


@METRICS.register("accuracy")
def accuracy(predictions: Predictions) -> float:
    """Share of images classified right."""
    return float(confusion.accuracy(_counts(predictions)))


@METRICS.register("balanced_accuracy")
def balanced_accuracy(predictions: Predictions) -> float:
    """Mean recall over the classes present; 1/K for a guess."""
    return recall_macro(predictions)


@METRICS.register("precision_macro")
def precision_macro(predictions: Predictions) -> float:
    """Mean precision over the classes present."""
    return float(confusion.macro(confusion.precision(_counts(predictions))))


@METRICS.register("recall_macro")
def recall_macro(predictions: Predictions) -> float:
    """Mean recall over the classes present; the same as balanced_accuracy."""
    return float(confusion.macro(confusion.recall(_counts(predictions))))


@METRICS.register("f1_macro")
def f1_macro(predictions: Predictions) -> float:
    """Mean F1 over the classes present."""
    return float(confusion.macro(confusion.f1(_counts(predictions))))


@METRICS.register("precision_weighted")
def precision_weighted(predictions: Predictions) -> float:
    """Mean precision, each class weighted by its images."""
    counts = _counts(predictions)
    return float(confusion.weighted(confusion.precision(counts), counts))


@METRICS.register("recall_weighted")
def recall_weighted(predictions: Predictions) -> float:
    """Mean recall, each class weighted by its images; the same as accuracy."""
    counts = _counts(predictions)
    return float(confusion.weighted(confusion.recall(counts), counts))


@METRICS.register("f1_weighted")
def f1_weighted(predictions: Predictions) -> float:
    """Mean F1, each class weighted by its images."""
    counts = _counts(predictions)
    return float(confusion.weighted(confusion.f1(counts), counts))


@METRICS.register("auroc")
def auroc(predictions: Predictions) -> float:
    """Area under the ROC curve; mean one-vs-rest over the classes present; two classes: of the second one."""
    areas = auroc_by_class(predictions)
    return float(areas[1] if len(areas) == 2 else confusion.macro(areas))


@METRICS.register("average_precision")
def average_precision(predictions: Predictions) -> float:
    """Area under the precision-recall curve, mean one-vs-rest over the classes present."""
    known = scorable(predictions)
    p, t, once = known.probabilities, known.targets, np.ones((len(known), 1))
    areas = [ranking.average_precision(p[:, k], t == k, once)[0] for k in range(len(known.classes))]
    return float(confusion.macro(np.array(areas)))


@METRICS.register("mcc")
def mcc(predictions: Predictions) -> float:
    """Matthews' correlation coefficient for any number of classes; 0 for a constant prediction."""
    return float(confusion.mcc(_counts(predictions)))


@METRICS.register("log_loss")
def log_loss(predictions: Predictions) -> float:
    """Mean negative natural logarithm of the true class's probability; lower is better."""
    return float(losses.log_losses(scorable(predictions)).mean())


@METRICS.register("ece")
def ece(predictions: Predictions) -> float:
    """Expected calibration error of the highest probability in 15 equal-width bins; lower is better."""
    known = scorable(predictions)
    bins, gaps = calibration.gaps(known.probabilities, known.predicted == known.targets)
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(known))


@METRICS.register("soft_cross_entropy")
def soft_cross_entropy(predictions: Predictions) -> float:
    """Mean of -sum_k t_k log p_k over label probabilities t, in nats; lower is better."""
    return float(losses.soft_losses("soft_cross_entropy", scorable(predictions, soft=True)).mean())


@METRICS.register("brier")
def brier(predictions: Predictions) -> float:
    """Mean over images of sum_k (t_k - p_k)^2 (Brier 1950), 0..2; lower is better."""
    return float(losses.soft_losses("brier", scorable(predictions, soft=True)).mean())


@METRICS.register("rmse")
def rmse(predictions: Predictions) -> float:
    """Root of the sum over images and classes of (t_k - p_k)^2, divided by the images; lower is better."""
    return float(np.sqrt(brier(predictions)))


@METRICS.register("kl")
def kl(predictions: Predictions) -> float:
    """Mean Kullback-Leibler divergence of the probabilities from the labels, in nats; lower is better."""
    return float(losses.soft_losses("kl", scorable(predictions, soft=True)).mean())


@METRICS.register("composition_rmse")
def composition_rmse(predictions: Predictions) -> float:
    """RMSE of mean probabilities against mean soft labels over groups of images; lower is better."""
    return populations.rmse(scorable(predictions, soft=True))


def scorable(predictions: Predictions, soft: bool = False) -> Predictions:
    """The rows that can be scored: those with a known target, or for `soft` metrics all where labels are soft.

    Raises:
        UserError: there are none, or a probability of theirs is not finite.
    """
    known = predictions if soft and predictions.soft_targets is not None else predictions.labelled
    if not len(known):
        raise UserError(
            "Expected rows with a known class to score, got none; label images, or of movies frames, of the validation "
            "and test rows"
        )
    broken = int((~np.isfinite(known.probabilities)).any(axis=1).sum())
    if broken:
        raise UserError(
            f"Expected finite probabilities, got NaN or infinity in {broken} of {len(known)} rows: "
            "the training has diverged; lower train.lr"
        )
    return known


def auroc_by_class(predictions: Predictions) -> npt.NDArray[np.float64]:
    """AUROC of each class against the rest, (K,); NaN where the class or the rest has no rows."""
    known = scorable(predictions)
    p, t, once = known.probabilities, known.targets, np.ones((len(known), 1))
    return np.array([ranking.auroc(p[:, k], t == k, once)[0] for k in range(len(known.classes))])


def compute(predictions: Predictions) -> dict[str, float]:
    """Every metric of METRICS, then `precision_<class>`, `recall_<class>`, `f1_<class>` and `auroc_<class>`.

    Args:
        predictions: N rows, some of them with a known target; those of `segments` follow where they are frames of
            sequences.

    Returns:
        name -> value, in the order of `names`.

    Raises:
        UserError: no row has a known target, a probability is not finite, or a class name clashes with a metric's.
    """
    ordered = names(predictions.classes, predictions.sequences is not None)
    figures = {name: METRICS[name](predictions) for name in METRICS}
    counts = _counts(predictions)
    tables = {
        "precision": confusion.precision(counts),
        "recall": confusion.recall(counts),
        "f1": confusion.f1(counts),
        "auroc": auroc_by_class(predictions),
    }
    for figure, table in tables.items():
        figures |= {f"{figure}_{c}": float(v) for c, v in zip(predictions.classes, table, strict=True)}
    figures |= {} if predictions.sequences is None else segments.compute(predictions)
    return {name: figures[name] for name in ordered}


def value(name: str, predictions: Predictions) -> float:
    """One metric, or a per-class one such as `recall_<class>`.

    Raises:
        UserError: no such metric; or as `compute`.
    """
    check(name, predictions.classes, predictions.sequences is not None)
    if name in METRICS:
        return METRICS[name](predictions)
    if name in segments.METRICS:
        return float(segments.METRICS[name](segments.tally(predictions).sums))
    figure, k = per_class(name, predictions.classes)
    if figure == "auroc":
        return float(auroc_by_class(predictions)[k])
    return float(getattr(confusion, figure)(_counts(predictions))[k])


def names(classes: Sequence[str], sequences: bool = False) -> list[str]:
    """Every metric that predictions over these classes have, of frames of sequences or not, in the order of `compute`.

    Raises:
        UserError: a class is called as a metric's ending ("macro", "weighted"), so that `recall_macro` would be two.
    """
    of_classes = [f"{figure}_{name}" for figure in PER_CLASS for name in classes]
    for name in of_classes:
        if name in METRICS:
            ending = name.partition("_")[2]
            raise UserError(f"Expected class names apart from metric names, got {ending!r} ({name}); rename that class")
    return [*METRICS, *of_classes, *(segments.METRICS if sequences else ())]


def check(name: str, classes: Sequence[str], sequences: bool = False) -> None:
    """Refuse a metric's name that predictions over these classes do not have, before anything is trained.

    Args:
        name: what the user asks for.
        classes: their names.
        sequences: whether rows are frames of sequences.

    Raises:
        UserError: names the near ones.
    """
    if name in segments.METRICS and not sequences:
        raise UserError(f"Expected a metric of single images, got {name!r}, which scores sequences; choose another")
    known = names(classes, sequences)
    if name not in known:
        raise UserError(f"Expected a metric, got {name!r}: {near(name, known)}")


def per_class(name: str, classes: Sequence[str]) -> tuple[str, int]:
    """Which figure of which class a name such as `recall_<class>` means: the figure and the class index."""
    figure, _, label = name.partition("_")
    return figure, list(classes).index(label)


def higher_is_better(name: str) -> bool:
    """Whether the greater value of a metric, or of a per-class one, is the better.

    Raises:
        UserError: no such metric.
    """
    if name not in METRICS and name not in segments.METRICS and name.partition("_")[0] not in PER_CLASS:
        raise UserError(f"Expected a metric, got {name!r}: {near(name, [*METRICS, *segments.METRICS])}")
    return name not in LOWER and name not in segments.LOWER


def majority_baseline(train_counts: Mapping[str, int], predictions: Predictions) -> Predictions:
    """What always saying the training rows' most frequent class would have predicted.

    Args:
        train_counts: class -> training rows, before any resampling.
        predictions: whose rows to answer.

    Returns:
        the same rows with the training frequencies as probabilities.

    Raises:
        UserError: a class that the predictions do not know, or no training rows at all.
    """
    for name in train_counts:
        if name not in predictions.classes:
            raise UserError(
                f"Expected counts of the predictions' classes, got {name!r}: {near(name, predictions.classes)}"
            )
    counts = np.array([train_counts.get(name, 0) for name in predictions.classes], dtype=np.float64)
    if counts.sum() <= 0:
        raise UserError("Expected training rows for the majority baseline, got none; give the training split's counts")
    return replace(predictions, probabilities=np.tile(counts / counts.sum(), (len(predictions), 1)))


def _counts(predictions: Predictions) -> npt.NDArray[np.float64]:
    known = scorable(predictions)
    return confusion.matrix(known.targets, known.predicted, len(known.classes))

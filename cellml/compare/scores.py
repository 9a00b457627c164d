"""The scores of several models on one test set: points and intervals, whichever set it is."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cellml.config import Compare
from cellml.data.manifest import Manifest
from cellml.evaluation import intervals, metrics
from cellml.evaluation.predictions import Predictions

METRICS = {  # column -> metric
    "accuracy": "accuracy",
    "loss": "log_loss",
    "precision": "precision_macro",
    "recall": "recall_macro",
    "f1": "f1_macro",
    "precision_weighted": "precision_weighted",
    "recall_weighted": "recall_weighted",
    "f1_weighted": "f1_weighted",
    "balanced_accuracy": "balanced_accuracy",
    "auroc": "auroc",
    "mcc": "mcc",
}
FIGURES = ("balanced_accuracy", "auroc", "f1", "mcc", "accuracy", "loss")  # those that are summed up over seeds
SOFT = ("rmse", "composition_rmse")  # shown where labels are soft


def table(
    predictions: Sequence[Predictions], rows: Manifest, settings: Compare, samples: np.ndarray | None = None
) -> pd.DataFrame:
    """Scores of M predictions of the same rows.

    Args:
        predictions: M of them.
        rows: those rows.
        settings: `metric` is added where it is no column; `resamples` and `seed` make the intervals.
        samples: (R, M) resampled balanced accuracies, where they are known.

    Returns:
        M rows: `METRICS`, `balanced_accuracy_low` and `_high` (95 % interval over resampled groups),
        `recall_<class>`, the metric of `settings`, and `SOFT` where labels are soft.
    """
    if samples is None:
        samples = intervals.paired(predictions, "balanced_accuracy", settings.resamples, settings.seed)
    records = []
    for m, score in enumerate(map(metrics.compute, predictions)):
        interval = intervals.interval(samples[:, m])
        record = {column: score[name] for column, name in METRICS.items()}
        record |= {"balanced_accuracy_low": interval.low, "balanced_accuracy_high": interval.high}
        record |= {f"recall_{name}": score[f"recall_{name}"] for name in rows.classes}
        record |= {settings.metric: score[settings.metric]} if settings.metric not in METRICS.values() else {}
        record |= {name: score[name] for name in SOFT} if rows.soft_targets is not None else {}
        records.append(record)
    return pd.DataFrame(records)


def with_baseline(predictions: Sequence[Predictions], train_counts: Mapping[str, int]) -> list[Predictions]:
    """The predictions, and after them those of a baseline that knows only the training rows' frequencies."""
    return [*predictions, metrics.majority_baseline(train_counts, predictions[0])]

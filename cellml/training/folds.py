"""Cross-validation: the same fit on all folds but one, judged on that one."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellml.config import Experiment
from cellml.data import splits
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation.predictions import Predictions
from cellml.models.classifier import Classifier
from cellml.training import kept
from cellml.training.fit import Fit, fit

OnFold = Callable[[int, Fit], None]


@dataclass(frozen=True)
class Folds:
    """R repeats of a k-fold cross-validation.

    Attributes:
        fits: the R * k fits, repeat by repeat.
        division: (R, N) which fold each row is judged in.
        predictions: out of fold, of all N rows in their order; with several repeats their mean.
    """

    fits: list[Fit]
    division: npt.NDArray[np.int64]
    predictions: Predictions


def divide(rows: Manifest, k: int, repeats: int, seed: int) -> npt.NDArray[np.int64]:
    """Folds of the rows, (R, N) from 0 to k - 1: stratified by class and mixture, no group and no image in two.

    The division depends on the ids, not on the rows' order.

    Raises:
        UserError: fewer groups than folds.
    """
    order = np.argsort(rows.ids.astype(str), kind="stable")
    groups = splits.joined(rows.groups, rows.table["pixels"])[order]
    result = np.empty((repeats, len(rows)), dtype=np.int64)
    for repeat in range(repeats):
        result[repeat, order] = splits.kfold(rows.strata[order], groups, k, seed + repeat)
    return result


def cross_validate(
    experiment: Experiment,
    dataset: Dataset,
    rows: Manifest,
    *,
    on_fold: OnFold | None = None,
    progress: bool = True,
    pretrained: Classifier | None = None,
    reference: Classifier | None = None,
    place: Path | None = None,
) -> Folds:
    """Fit `train.folds` times `train.repeats` networks, each on all folds but one.

    Args:
        experiment: what to train and how; repeat r divides by `split.seed` + r and trains with `train.seed` + r.
        dataset: the images behind the rows.
        rows: N rows to divide.
        on_fold: called with the number of the fold (from 1) and its fit; what it raises comes out of here.
        progress: show bars.
        pretrained: see `fit`.
        reference: see `fit`.
        place: folder where each finished fit is kept, and how far the running one is, so that the same call continues
            after an interruption, see `kept.folder`; the caller removes it.

    Raises:
        UserError: as `divide` and `fit` do.
    """
    settings = experiment.train
    k = settings.folds or 2
    division = divide(rows, k, settings.repeats, experiment.split.seed)
    fits: list[Fit] = []
    for repeat, fold in enumerate(division):
        own = experiment.replace({"train.seed": settings.seed + repeat, "train.folds": None})
        for held in range(k):
            number = len(fits) + 1
            fitted = kept.load(place / str(number)) if place is not None else None
            if fitted is None:
                fitted = fit(
                    own,
                    dataset,
                    train=rows.where(fold != held),
                    validation=rows.where(fold == held),
                    progress=progress,
                    pretrained=pretrained,
                    reference=reference,
                    checkpoint=place / f"{number}.running" if place is not None else None,
                )
                if place is not None:
                    kept.save(fitted, place / str(number))
                    shutil.rmtree(place / f"{number}.running", ignore_errors=True)
            fits.append(fitted)
            if on_fold is not None:
                on_fold(number, fitted)
    return Folds(fits, division, _joined(rows, division, fits))


def _joined(rows: Manifest, division: npt.NDArray[np.int64], fits: list[Fit]) -> Predictions:
    total = np.zeros((len(rows), len(rows.classes)))
    k = len(fits) // len(division)
    for number, done in enumerate(fits):
        assert done.validation is not None
        total[division[number // k] == number % k] += done.validation.probabilities
    return Predictions.of(rows, total)

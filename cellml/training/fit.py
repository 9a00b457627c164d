"""Fitting a classifier: an experiment and two manifests in, a trained classifier with its history out."""

import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from cellml.config import Experiment
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.evaluation.predictions import Predictions
from cellml.models.classifier import Classifier
from cellml.sampling.base import TrainingRows
from cellml.sampling.strategies import resample
from cellml.training import device, losses
from cellml.training.finetune import finetune
from cellml.training.frozen import frozen
from cellml.training.job import Job, OnEpoch, predictions
from cellml.training.module import Diverged

__all__ = ["Diverged", "Fit", "OnEpoch", "fit"]


@dataclass
class Fit:
    """A trained classifier and how it came to be.

    Attributes:
        classifier: in evaluation mode, on the CPU, with the weights of the best epoch.
        history: a record an epoch: `train/loss`, `lr` and, with validation rows, `val/loss` and `val/<metric>`.
        best_epoch: counted from 1.
        validation: predictions of the validation rows by `classifier`, or None.
        seconds: wall-clock time of the fit.
        counts: training rows per class, `before` and `after` sampling.
    """

    classifier: Classifier
    history: list[dict[str, float]]
    best_epoch: int
    validation: Predictions | None
    seconds: float
    counts: dict[str, dict[str, float]]


def fit(
    experiment: Experiment,
    dataset: Dataset,
    *,
    train: Manifest,
    validation: Manifest | None,
    on_epoch: OnEpoch | None = None,
    progress: bool = True,
    epochs: int | None = None,
    pretrained: Classifier | None = None,
) -> Fit:
    """Train a classifier; the same seed gives the same result on a CPU with the same number of threads.

    Args:
        experiment: what to train and how.
        dataset: the images behind the manifests.
        train: training rows, at least two.
        validation: rows that pick the best epoch; None: the last epoch counts.
        on_epoch: called with the epoch (from 1) and its record; what it raises comes out of here.
        progress: show a bar.
        epochs: instead of `train.epochs`.
        pretrained: a classifier to start from instead of `model.weights`; its scaling of pixel values is kept.

    Raises:
        UserError: settings that do not fit the data or this machine.
        Diverged: the loss became NaN or infinite.
    """
    start = time.perf_counter()
    settings = experiment.train
    _check(experiment, train, validation)
    on = device.pick(settings.device)
    rows = TrainingRows(train.ids, train.targets, train.groups, len(train.classes), train.soft_targets)
    sample = resample(experiment.sampling.strategy, experiment.sampling.options, rows, settings.seed)
    job = Job(
        experiment, dataset, train, validation, sample, on, epochs or settings.epochs, pretrained, on_epoch, progress
    )
    with device.threads(settings.threads), _seeded(settings.seed, on):
        outcome = frozen(job) if experiment.model.mode == "frozen" else finetune(job)
    gc.collect()  # a network and its optimiser refer to each other; the next fit should not wait for a collection
    after = dict(zip(train.classes, sample.counts(rows).tolist(), strict=True))
    return Fit(
        classifier=outcome.classifier.eval(),
        history=outcome.history,
        best_epoch=outcome.best_epoch,
        validation=outcome.validation,
        seconds=time.perf_counter() - start,
        counts={"before": {name: float(n) for name, n in train.counts.items()}, "after": after},
    )


def _check(experiment: Experiment, train: Manifest, validation: Manifest | None) -> None:
    present = [name for name, count in train.counts.items() if count]
    if len(train) < 2 or len(present) < 2:
        raise UserError(
            f"Expected training rows of at least two classes, got {len(train)} rows of {present}; "
            "check data.label and the splits"
        )
    settings = experiment.train
    losses.build(settings.loss, settings.loss_options, train.classes)
    if validation is None:
        return
    if not len(validation):
        raise UserError("Expected validation rows, got none; raise split.validation")
    metrics.check(settings.monitor, validation.classes)
    even = torch.full((len(validation), len(validation.classes)), 1 / len(validation.classes))
    value = metrics.value(settings.monitor, predictions(validation, even))
    if math.isnan(value):
        missing = [name for name, count in validation.counts.items() if not count]
        raise UserError(
            f"Expected train.monitor to have a value on the validation rows, got NaN for {settings.monitor!r}: "
            f"no validation rows of {missing}; choose another metric or raise split.validation"
        )


@contextmanager
def _seeded(seed: int, on: torch.device) -> Iterator[None]:
    """Seed torch's global generators within a block, and give them back as they were."""
    devices = [on] if on.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield

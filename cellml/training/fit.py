"""Fitting a classifier: an experiment and two manifests in, a trained classifier with its history out."""

import gc
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cellml.config import Experiment
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation import calibration, metrics
from cellml.evaluation.predictions import Predictions
from cellml.models.classifier import Classifier
from cellml.models.temporal.names import temporal
from cellml.sampling.base import TrainingRows
from cellml.sampling.strategies import resample
from cellml.training import device, frames, losses, spaces, stages, synthesis
from cellml.training.adapt import FROZEN_TRUNK
from cellml.training.checkpoint import Checkpoint, opened
from cellml.training.finetune import finetune
from cellml.training.frame_module import Align, Aligned
from cellml.training.frozen import frozen
from cellml.training.identity import key
from cellml.training.job import Job, OnEpoch, Outcome, initial
from cellml.training.module import Diverged
from cellml.training.predict import predict

__all__ = ["Align", "Diverged", "Fit", "OnEpoch", "fit"]


@dataclass
class Fit:
    """A trained classifier and how it came to be.

    Attributes:
        classifier: in evaluation mode, on the CPU, with the weights of the best epoch.
        history: a record an epoch: `train/loss`, `lr` and, with validation rows, `val/loss` and `val/<metric>`.
        best_epoch: counted from 1.
        validation: predictions of the validation rows by `classifier`, or None.
        seconds: wall-clock time of the fit.
        trained: how many parameters were trained.
        counts: training rows per class and mixture, `before` and `after` sampling.
        notes: what the sampling strategy did otherwise than asked, a line each.
        synthetic: some synthetic training images beside what they were made of, see `synthesis.strips`.
    """

    classifier: Classifier
    history: list[dict[str, float]]
    best_epoch: int
    validation: Predictions | None
    seconds: float
    trained: int
    counts: dict[str, dict[str, float]]
    notes: tuple[str, ...] = ()
    synthetic: list[synthesis.Strip] = field(default_factory=list)


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
    reference: Classifier | None = None,
    align: Align | None = None,
    checkpoint: Path | None = None,
) -> Fit:
    """Train a classifier, of sequences where rows are frames of movies.

    The same seed gives the same result on a CPU with the same number of threads, interrupted or not.

    Args:
        experiment: what to train and how.
        dataset: the images behind the manifests.
        train: training rows, at least two.
        validation: rows that pick the best epoch; None: the last epoch counts.
        on_epoch: called with the epoch (from 1) and its record; what it raises comes out of here.
        progress: show a bar.
        epochs: instead of `train.epochs`.
        pretrained: a classifier to start from instead of `model.weights`; its scaling of pixel values is kept.
        reference: a network whose embeddings strategies look for neighbours in, instead of the model's own.
        align: of frames of movies, gives the training rows' labels before the fit and before each epoch.
        checkpoint: folder of this fit alone, where its state is kept every `train.checkpoint` seconds, so that the same
            call goes on after an interruption; `on_epoch` is then told of the epochs before it, too. The caller removes
            it. Not for an `align` of one's own.

    Raises:
        UserError: settings that do not fit the data or this machine.
        Diverged: the loss became NaN or infinite.
    """
    start = time.perf_counter()
    settings = experiment.train
    given, foreign = (train, validation), align is not None and not isinstance(align, Aligned)
    every = None if foreign or experiment.model.mode == "frozen" else settings.checkpoint
    align, digest = align or stages.aligned(experiment, train), train.digest
    if align is not None:
        train = frames.named(train, align(None))
    _check(experiment, train, validation)
    _check_changes(experiment, dataset)
    realign = align
    on, precision = device.pick(settings.device), settings.precision

    def of() -> str:
        starts = (pretrained, reference)
        return key(experiment, given, starts, epochs or settings.epochs, on.type, device.precision(precision, on))

    if isinstance(align, stages.Transcripts) and experiment.sequence.transcripts.aligner:
        with opened(checkpoint and checkpoint / "aligned", every, of) as kept:
            _crossfit(experiment, dataset, train, align, kept, progress)
        train, realign = frames.named(train, align(None)), None
    labelled = train if train.sequences is None else train.where(train.targets >= 0)
    rows = TrainingRows.of(labelled, _spaces(experiment, dataset, train, on, pretrained, reference))
    if not settings.soft_labels:
        rows = replace(rows, soft_targets=None)
    sampling = experiment.sampling
    sample = resample(sampling.strategy, sampling.options, rows, settings.seed, sampling.recipes)
    job = Job(
        experiment=experiment,
        dataset=dataset,
        train=train,
        validation=validation,
        rows=rows,
        sample=sample,
        device=on,
        epochs=epochs or settings.epochs,
        pretrained=pretrained,
        on_epoch=on_epoch,
        progress=progress,
    )
    everything = dataset.manifest if dataset.manifest.sequences is not None else train
    stages.decoder(experiment, train, align, everything)  # refused before anything is trained
    with (
        device.threads(settings.threads),
        device.seeded(settings.seed, on),
        opened(checkpoint, every, of) as kept,
    ):
        job = replace(job, checkpoint=kept)
        if train.sequences is not None:
            outcome = frames.learn(job, realign)
        else:
            outcome = frozen(job) if experiment.model.mode == "frozen" else finetune(job)
    if settings.calibrate != "none" and outcome.validation is not None:
        outcome = _calibrated(outcome, outcome.validation, settings.calibrate == "balanced")
    if (decoder := stages.decoder(experiment, train, align, everything)) is not None:
        model = outcome.classifier
        spec = replace(model.spec, decoder=decoder.to_dict(), digest=digest)
        outcome = replace(outcome, classifier=type(model)(spec, model.net))
    gc.collect()  # a network and its optimiser refer to each other; the next fit should not wait for a collection
    return Fit(
        classifier=outcome.classifier.eval(),
        history=outcome.history,
        best_epoch=outcome.best_epoch,
        validation=outcome.validation,
        seconds=time.perf_counter() - start + (0 if kept is None else kept.before),
        trained=outcome.trained,
        counts={"before": _counts(rows, np.arange(len(rows)), None), "after": _counts(rows, sample.rows, sample.draw)},
        notes=(*sample.notes, *_untrained(experiment, pretrained)),
        synthetic=_strips(job) if sample.synthetic.any() else [],
    )


def _crossfit(
    experiment: Experiment,
    dataset: Dataset,
    train: Manifest,
    align: stages.Transcripts,
    kept: Checkpoint | None,
    progress: bool,
) -> None:
    own = stages.aligning(experiment)
    running = None if kept is None else kept.path.parent / "running"

    def said(images: Manifest, others: Manifest) -> npt.NDArray[np.float64]:
        trained = fit(own, dataset, train=images, validation=None, progress=progress, checkpoint=running)
        if running is not None:
            shutil.rmtree(running, ignore_errors=True)
        found = predict(trained.classifier, dataset, others, device=own.train.device)
        return np.log(np.maximum(found.probabilities, np.finfo(np.float64).tiny))

    def round_done() -> None:
        if kept is not None:
            kept.offer(align.state)

    if kept is not None and (state := kept.load()) is not None:
        align.resume(state)
    stages.crossfit(align, train, said, experiment.train.seed, round_done)


def _strips(job: Job) -> list[synthesis.Strip]:
    blend = job.experiment.model.mode != "frozen"
    return synthesis.strips(job.prepared(job.train), job.sample, job.rows, blend=blend)


def _untrained(experiment: Experiment, pretrained: Classifier | None) -> list[str]:
    mode, weights, notes = experiment.model.mode, experiment.model.weights, list[str]()
    if mode == "finetune":
        return []
    if weights == "none" and pretrained is None:
        rest = "the head learns from the features of an untrained network"
        rest = rest if mode in FROZEN_TRUNK else "most of the network stays untrained"
        notes.append(f"model.mode {mode} with model.weights none: {rest}")
    if experiment.model.attention != "none" and mode in FROZEN_TRUNK:
        notes.append(f"model.mode {mode} with model.attention: blocks that model.weights does not hold stay untrained")
    return notes


def _calibrated(outcome: Outcome, validation: Predictions, balanced: bool) -> Outcome:
    """The same with a temperature, and offsets where `balanced`, fitted to the validation predictions."""
    classifier, offsets = outcome.classifier, tuple[float, ...]()
    if balanced:
        temperature, offsets = calibration.balanced(validation)
    else:
        temperature = calibration.temperature(validation)
    scaled = replace(validation, probabilities=calibration.heated(validation.probabilities, temperature, offsets))
    spec = replace(classifier.spec, temperature=temperature, offsets=offsets)
    return replace(outcome, classifier=type(classifier)(spec, classifier.net), validation=scaled)


def _counts(rows: TrainingRows, seen: npt.NDArray[np.int64], draw: npt.NDArray | None) -> dict[str, float]:
    """Rows of each class and each mixture in an epoch; expected numbers where they are drawn."""
    names, kind = np.unique(rows.kinds, return_inverse=True)
    share = np.ones(len(seen)) if draw is None else draw * len(seen)
    found = np.bincount(kind[seen], weights=share, minlength=len(names))
    return dict.fromkeys(rows.classes, 0.0) | dict(zip(names.tolist(), found.tolist(), strict=True))


def _spaces(
    experiment: Experiment,
    dataset: Dataset,
    train: Manifest,
    on: torch.device,
    pretrained: Classifier | None,
    reference: Classifier | None,
) -> Mapping[str, spaces.Space]:
    """Where a strategy may look for neighbours; nothing is computed before it does."""
    model, plain = experiment.model, {"sampling.strategy": "none", "sampling.options": {}, "sampling.recipes": {}}
    alone = experiment.replace(plain)

    def network() -> Classifier:
        if reference is not None:
            return reference.to(on)
        pixels = dataset.pixels.resized(experiment.input.crop, experiment.input.size, train.rows)
        with device.seeded(experiment.train.seed, on):  # as the fit will: the same network where it has no weights
            return initial(alone.replace({"model.mode": "finetune"}), train, pixels, pretrained).to(on)

    def trainer(learnt: Manifest, judged: Manifest) -> Classifier:
        return fit(alone, dataset, train=learnt, validation=judged, progress=False, pretrained=pretrained).classifier

    knows = reference is not None or pretrained is not None or model.weights != "none" or model.mode in FROZEN_TRUNK
    return spaces.spaces(alone, dataset, train, network=network if knows else None, trainer=trainer)


def _check(experiment: Experiment, train: Manifest, validation: Manifest | None) -> None:
    present = [name for name, count in train.counts.items() if count]
    if train.sequences is not None:
        frames.check(experiment)
    elif temporal(experiment.model.backbone):
        raise UserError(
            f"Expected frames of movies for model.backbone {experiment.model.backbone!r}, got images by themselves; "
            "choose a backbone of images, or a data.source that gives sequences"
        )
    if len(train) < 2 or len(present) < 2:
        raise UserError(
            f"Expected training rows of at least two classes, got {len(train)} rows of {present}; "
            "check data.label and the splits"
        )
    if validation is not None and np.isin(train.ids, validation.ids).any():
        raise ValueError("training rows among the validation rows")
    settings = experiment.train
    losses.build(settings.loss, settings.loss_options, train.classes)
    if validation is None:
        return
    if not len(validation):
        raise UserError("Expected validation rows, got none; raise split.validation")
    metrics.check(settings.monitor, validation.classes, validation.sequences is not None)
    even = np.full((len(validation), len(validation.classes)), 1 / len(validation.classes))
    value = metrics.value(settings.monitor, Predictions.of(validation, even))
    if math.isnan(value):
        missing = [name for name, count in validation.counts.items() if not count]
        reason = f"no validation rows of {missing}" if missing else "it needs soft labels and groups of several images"
        raise UserError(
            f"Expected train.monitor to have a value on the validation rows, got NaN for {settings.monitor!r}: "
            f"{reason}; choose another metric or raise split.validation"
        )


def _check_changes(experiment: Experiment, dataset: Dataset) -> None:
    pixels = dataset.pixels
    if experiment.train.augment.stain and (pixels.channels, pixels.dtype) != (3, "uint8"):
        raise UserError(
            f"Expected stained tissue in 8-bit colour for train.augment.stain, got {pixels.channels} channels of "
            f"{pixels.dtype}; set it to 0"
        )
    if experiment.train.auxiliary and experiment.model.mode == "frozen":
        raise UserError(
            "Expected a trunk that learns for train.auxiliary, got model.mode: frozen; set train.auxiliary to 0"
        )

"""Fitting a sequence classifier: what cannot be asked for, and the way from its starting weights to its best ones."""

import numpy as np
import numpy.typing as npt
import torch

from cellml.config import Experiment
from cellml.data import masks as outlines
from cellml.data.manifest import Manifest
from cellml.data.timelines import timelines
from cellml.errors import UserError
from cellml.models.classifier import SequenceClassifier
from cellml.models.temporal import names
from cellml.sampling.base import Sample
from cellml.training import adapt, arrays, device, finetune, frame_arrays, loop
from cellml.training.frame_module import Align, FrameModule
from cellml.training.job import Job, Outcome, initial
from cellml.training.progress import Bar
from cellml.training.score import SCORED

STRATEGIES = ("none", "class_weights", "effective_weights")  # those that neither leave out nor repeat rows


def check(experiment: Experiment) -> None:
    """Refuse what sequences cannot be trained with, before anything is computed.

    Raises:
        UserError: names the setting and what to set.
    """
    train, model, strategy = experiment.train, experiment.model, experiment.sampling.strategy
    refused = [
        (strategy not in STRATEGIES, "sampling.strategy", strategy, f"one of {', '.join(STRATEGIES)}"),
        (train.augment.mixup or train.augment.cutmix, "train.augment.mixup and cutmix", "one of them", "0"),
        (model.mode != "finetune", "model.mode", model.mode, "finetune"),
        (train.layer_decay < 1, "train.layer_decay", train.layer_decay, "1"),
        (train.auxiliary, "train.auxiliary", train.auxiliary, "0"),
    ]
    if aligner := experiment.sequence.transcripts.aligner:
        if names.temporal(aligner):
            raise UserError(
                f"Expected a backbone of images, which remembers nothing, as sequence.transcripts.aligner, got "
                f"{aligner!r}; name one such as resnet18"
            )
        try:
            names.check(aligner, {})
        except UserError as error:
            raise UserError(f"sequence.transcripts.aligner: {error}") from None
    for wrong, key, got, wanted in refused:
        if wrong:
            raise UserError(f"Expected {key} {wanted} for frames of movies, got {got}; set it so")


def learn(job: Job, align: Align | None = None) -> Outcome:
    """Train a network on whole sequences of augmented frames, from its starting weights.

    Args:
        job: its rows and sample are those of the training rows with a label.
        align: gives labels of the training frames anew before each epoch but the first; None: they stay.

    Raises:
        UserError: a backbone, weights, loss or precision that does not fit.
        Diverged: the loss became NaN or infinite.
    """
    settings, seen, on = job.experiment.train, job.experiment.input, job.device
    precision = device.precision(settings.precision, on)
    crop, size = finetune.margin(job.dataset, job.train, seen, settings.augment)
    pixels = job.dataset.pixels.resized(crop, size, job.train.rows)
    model = initial(job.experiment, job.train, finetune.central(pixels, seen.size), job.pretrained)
    assert isinstance(model, SequenceClassifier)
    marked = _masks(job, crop, size) if model.net.draws else None
    targets = frame_arrays.targets_of(job.train, settings.soft_labels)
    learnt = frame_arrays.load(job.train, pixels, targets, on, weights=_weights(job), masks=marked)
    judged = None
    if (rows := job.validation) is not None:
        judged = frame_arrays.load(rows, job.prepared(rows), frame_arrays.targets_of(rows, settings.soft_labels), on)
    order = torch.Generator().manual_seed(settings.seed)
    every = Sample(np.arange(len(learnt)), np.ones(len(learnt), dtype=np.float32))
    batches = arrays.Batches(every, settings.batch_size, order, torch.device("cpu"), settings.steps)
    with Bar(model.spec.backbone, job.epochs, len(batches), job.progress) as bar:
        trained = adapt.count(model.net)
        module = FrameModule(job, model, learnt, judged, bar, align)
        checks = None
        if judged is not None:
            checks = arrays.InOrder(len(judged), max(1, SCORED // int(judged.lengths.max())), on)
        loop.run(module, batches, checks, epochs=job.epochs, device=on, precision=precision)
        model.load_state_dict(module.best_state)
    device.lay_out(model, torch.contiguous_format)
    final = job.answer(frame_arrays.probabilities(model, judged, on)) if judged is not None else None
    return Outcome(model, module.history, module.best_epoch, final, trained)


def named(train: Manifest, labels: list[npt.NDArray[np.int64]]) -> Manifest:
    """Training rows with the labels that an `Align` gave for each sequence's frames."""
    names = np.array(train.table["label"], dtype=object)
    for rows, classes in zip(timelines(train), labels, strict=True):
        names[rows] = np.array(train.classes, dtype=object)[classes]
    return train.with_column("label", names)


def _weights(job: Job) -> npt.NDArray[np.float32]:
    """Weight of each training row's loss, (R,), 0 of those without a label."""
    weights = np.zeros(len(job.train), dtype=np.float32)
    weights[job.train.targets >= 0] = job.sample.weights
    return weights


def _masks(job: Job, crop: int | None, size: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None:
    found = outlines.read(job.train, job.dataset.root, crop, size)
    return None if found is None else (found, (job.train.table["mask"] != "").to_numpy(copy=True))

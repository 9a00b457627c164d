"""Fitting a network's weights, all of them or those that the mode trains."""

import numpy as np
import numpy.typing as npt
import torch

from cellml import config
from cellml.data import augment
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.models import depth
from cellml.training import adapt, arrays, auxiliary, device, loop, synthesis
from cellml.training.job import Job, Outcome, initial
from cellml.training.module import Module
from cellml.training.progress import Bar
from cellml.training.score import SCORED, probabilities


def finetune(job: Job) -> Outcome:
    """Train a network, or those parts of it that `model.mode` says, from its starting weights on augmented images.

    Raises:
        UserError: a backbone, weights, loss, mode, layer decay or precision that does not fit.
        Diverged: the loss became NaN or infinite.
    """
    settings, how, size, on = job.experiment.train, job.experiment.model, job.experiment.input.size, job.device
    precision = device.precision(settings.precision, on)
    pixels = with_margin(job.dataset, job.train, job.experiment.input, settings.augment)
    model = initial(job.experiment, job.train, central(pixels, size), job.pretrained)
    if settings.layer_decay < 1:
        depth.check_layers(how.backbone, model.net)
    further = auxiliary.labels(job.train) if settings.auxiliary else []
    known = torch.cat([job.labels(job.train), *further], dim=1)
    pixels, targets, sample = synthesis.extended(pixels, known, job.sample, job.rows)
    learnt, judged = arrays.load(pixels, targets, on), None
    if job.validation is not None:
        judged = arrays.load(job.prepared(job.validation), job.labels(job.validation), on)
    order = torch.Generator().manual_seed(settings.seed)
    batches = arrays.Batches(sample, settings.batch_size, order, on, settings.steps)
    with adapt.adapted(model, how), Bar(how.backbone, job.epochs, len(batches), job.progress) as bar:
        trained = adapt.count(model.net)
        module = Module(job, model, learnt, judged, bar, [labels.shape[1] for labels in further])
        checks = arrays.InOrder(len(judged), SCORED, on) if judged is not None else None
        loop.run(module, batches, checks, epochs=job.epochs, device=on, precision=precision)
        model.load_state_dict(module.best_state)
    device.lay_out(model, torch.contiguous_format)
    final = job.answer(probabilities(model, judged, on)) if judged is not None else None
    return Outcome(model, module.history, module.best_epoch, final, trained)


def with_margin(dataset: Dataset, train: Manifest, seen: config.Input, changes: config.Augment) -> npt.NDArray:
    """The training images with the margin that augmentation turns in, (N, S', S', C), S' >= S."""
    crop, size = margin(dataset, train, seen, changes)
    return dataset.pixels.resized(crop, size, train.rows)


def margin(dataset: Dataset, train: Manifest, seen: config.Input, changes: config.Augment) -> tuple[int | None, int]:
    """Crop and size of the training images with the margin that augmentation turns in."""
    side = int(np.median(dataset.pixels.shapes[train.rows, :2].min(axis=1)))
    return augment.margin(changes, seen.crop, seen.size, side)


def central(pixels: npt.NDArray, size: int) -> npt.NDArray:
    """The images (N, S, S, C) within those with a margin."""
    start = (pixels.shape[1] - size) // 2
    return pixels[:, start : start + size, start : start + size]

"""Fitting all of a network's weights."""

import numpy as np
import torch

from cellml.data import augment
from cellml.models import classifier
from cellml.training import arrays, device, loop
from cellml.training.job import Job, Outcome, describe
from cellml.training.module import Module
from cellml.training.progress import Bar
from cellml.training.score import SCORED, probabilities


def finetune(job: Job) -> Outcome:
    """Train a network from its starting weights on augmented images.

    Raises:
        UserError: a backbone, weights, loss or precision that does not fit.
        Diverged: the loss became NaN or infinite.
    """
    settings, size, on = job.experiment.train, job.experiment.input.size, job.device
    precision = device.precision(settings.precision, on)
    pixels = _with_margin(job)
    inner = slice((pixels.shape[1] - size) // 2, (pixels.shape[1] + size) // 2)
    spec = describe(job, pixels[:, inner, inner])
    model = classifier.build(spec, job.experiment.model.weights if job.pretrained is None else job.pretrained)
    learnt = arrays.load(pixels, job.train, on)
    judged = arrays.load(job.prepared(job.validation), job.validation, on) if job.validation is not None else None
    order = torch.Generator().manual_seed(settings.seed)
    batches = arrays.Batches(job.sample, settings.batch_size, order, on)
    with Bar(spec.backbone, job.epochs, len(batches), job.progress) as bar:
        module = Module(job, model, learnt, judged, bar)
        checks = arrays.InOrder(len(judged), SCORED, on) if judged is not None else None
        loop.run(module, batches, checks, epochs=job.epochs, device=on, precision=precision)
    model.load_state_dict(module.best_state)
    device.lay_out(model, torch.contiguous_format)
    final = job.answer(probabilities(model, judged, on)) if judged is not None else None
    return Outcome(model, module.history, module.best_epoch, final)


def _with_margin(job: Job) -> np.ndarray:
    seen, images = job.experiment.input, job.dataset.pixels
    side = int(np.median(images.shapes[job.train.rows, :2].min(axis=1)))
    crop, size = augment.margin(job.experiment.train.augment, seen.crop, seen.size, side)
    return images.resized(crop, size, job.train.rows)

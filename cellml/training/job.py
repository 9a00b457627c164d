"""What one fit works on, for every way of fitting."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cellml.config import Experiment
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation.predictions import Predictions
from cellml.models import backbones
from cellml.models.classifier import Classifier, Spec
from cellml.sampling.base import Sample
from cellml.training import arrays

OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Job:
    """The arguments of a fit, checked and resolved.

    Attributes:
        experiment: what to train and how.
        dataset: the images behind the manifests.
        train: N training rows.
        validation: rows that pick the best epoch, or None.
        sample: which of the training rows, how often, with which weight.
        device: to compute on.
        epochs: at most.
        pretrained: a classifier to start from instead of `model.weights`, or None.
        on_epoch: called with the epoch (from 1) and its record, or None.
        progress: show a bar.
    """

    experiment: Experiment
    dataset: Dataset
    train: Manifest
    validation: Manifest | None
    sample: Sample
    device: torch.device
    epochs: int
    pretrained: Classifier | None
    on_epoch: OnEpoch | None
    progress: bool

    def answer(self, probabilities: Tensor) -> Predictions:
        """Predictions of the validation rows, of their probabilities (N, K)."""
        assert self.validation is not None
        return predictions(self.validation, probabilities)

    def prepared(self, manifest: Manifest) -> npt.NDArray:
        """A manifest's images at the experiment's crop and size, (N, S, S, C)."""
        return self.dataset.pixels.resized(self.experiment.input.crop, self.experiment.input.size, manifest.rows)


@dataclass(frozen=True)
class Outcome:
    """What a way of fitting gives back: see `cellml.training.fit.Fit`."""

    classifier: Classifier
    history: list[dict[str, float]]
    best_epoch: int
    validation: Predictions | None


def predictions(manifest: Manifest, probabilities: Tensor) -> Predictions:
    """Beside a manifest's N rows their probabilities (N, K), made to sum to 1 in float64."""
    values = probabilities.detach().cpu().numpy().astype(np.float64)
    return Predictions(
        ids=manifest.ids,
        targets=manifest.targets,
        probabilities=values / values.sum(axis=1, keepdims=True),
        groups=manifest.groups,
        classes=manifest.classes,
        soft_targets=manifest.soft_targets,
    )


def describe(job: Job, pixels: npt.NDArray) -> Spec:
    """The Spec of a classifier to be trained.

    Args:
        job: the fit.
        pixels: prepared training images (N, S, S, C): the value range and, unless `model.weights` brings them, the
            moments come from them.
    """
    model, channels = job.experiment.model, pixels.shape[-1]
    found = arrays.scale(pixels)
    low, high, mean, std = found.low, found.high, found.mean, found.std
    if job.pretrained is not None and job.pretrained.spec.channels == channels:
        source = job.pretrained.spec
        low, high, mean, std = source.low, source.high, source.mean, source.std
    elif job.pretrained is None:
        mean, std = backbones.normalisation(model.backbone, model.weights, channels) or (mean, std)
    return Spec(
        backbone=model.backbone,
        classes=job.train.classes,
        channels=channels,
        dtype="uint8" if pixels.dtype == np.uint8 else "uint16",
        size=job.experiment.input.size,
        crop=job.experiment.input.crop,
        low=low,
        high=high,
        mean=mean,
        std=std,
        options=dict(model.options),
        dropout=model.dropout,
        tta=job.experiment.train.tta,
        digest=job.train.digest,
        strategy=job.experiment.sampling.strategy,
    )

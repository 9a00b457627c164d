"""What one fit works on, for every way of fitting."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cellml.config import Experiment
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation.predictions import Predictions
from cellml.models import backbones, classifier
from cellml.models.classifier import Classifier, Spec
from cellml.models.temporal import names as sequence_names
from cellml.models.temporal import networks
from cellml.models.temporal.base import WHOLE
from cellml.sampling.base import Sample, TrainingRows
from cellml.training import arrays
from cellml.training.checkpoint import Checkpoint

OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Job:
    """The arguments of a fit, checked and resolved.

    Attributes:
        experiment: what to train and how.
        dataset: the images behind the manifests.
        train: N training rows.
        validation: rows that pick the best epoch, or None.
        rows: what the strategy was given of the training rows.
        sample: which of the training rows, how often, with which weight, and synthetic ones.
        device: to compute on.
        epochs: at most.
        pretrained: a classifier to start from instead of `model.weights`, or None.
        on_epoch: called with the epoch (from 1) and its record, or None.
        progress: show a bar.
        checkpoint: where the fit's state is kept, or None.
    """

    experiment: Experiment
    dataset: Dataset
    train: Manifest
    validation: Manifest | None
    rows: TrainingRows
    sample: Sample
    device: torch.device
    epochs: int
    pretrained: Classifier | None
    on_epoch: OnEpoch | None
    progress: bool
    checkpoint: Checkpoint | None = None

    @property
    def mass(self) -> npt.NDArray[np.float64]:
        """How much of each class an epoch shows the network, (K,): label probabilities summed over the sample."""
        share = self.sample.weights if self.sample.draw is None else self.sample.weights * self.sample.draw
        return share @ self.sample.targets(self.rows)

    def answer(self, probabilities: Tensor) -> Predictions:
        """Predictions of the validation rows, of their probabilities (N, K)."""
        assert self.validation is not None
        return Predictions.of(self.validation, probabilities.cpu().numpy())

    def labels(self, manifest: Manifest) -> Tensor:
        """Class probabilities of a manifest's N rows that the loss is asked for, (N, K): see `train.soft_labels`."""
        return arrays.labels(manifest, self.experiment.train.soft_labels)

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
    trained: int


def initial(experiment: Experiment, train: Manifest, pixels: npt.NDArray, pretrained: Classifier | None) -> Classifier:
    """A classifier with its starting weights: those of `pretrained`, or what `model.weights` says.

    Args:
        experiment: what to train.
        train: N training rows.
        pixels: prepared training images (N, S, S, C): the value range and, unless `model.weights` brings them, the
            moments come from them.
        pretrained: a classifier whose tensors, as far as they fit, and scaling of pixel values are taken over.

    Raises:
        UserError: a backbone or weights that do not fit.
    """
    spec = _describe(experiment, train, pixels, pretrained)
    return classifier.build(spec, experiment.model.weights if pretrained is None else pretrained.net.state_dict())


def _describe(experiment: Experiment, train: Manifest, pixels: npt.NDArray, pretrained: Classifier | None) -> Spec:
    model, channels = experiment.model, pixels.shape[-1]
    found = arrays.scale(pixels)
    low, high, mean, std = found.low, found.high, found.mean, found.std
    if pretrained is not None and pretrained.spec.channels == channels:
        source = pretrained.spec
        low, high, mean, std = source.low, source.high, source.mean, source.std
    elif pretrained is None and (image := sequence_names.split(model.backbone)[0]) not in WHOLE:
        mean, std = backbones.normalisation(image, model.weights, channels) or (mean, std)
    return Spec(
        backbone=model.backbone,
        classes=train.classes,
        channels=channels,
        dtype="uint8" if pixels.dtype == np.uint8 else "uint16",
        size=experiment.input.size,
        crop=experiment.input.crop,
        low=low,
        high=high,
        mean=mean,
        std=std,
        options=dict(model.options),
        dropout=model.dropout,
        attention=model.attention,
        hidden=model.hidden if model.mode == "head" else 0,
        tta=experiment.train.tta,
        digest=train.digest,
        earlier=() if pretrained is None else _earlier(pretrained.spec, train.digest),
        strategy=experiment.sampling.strategy,
        sequence=_sizes(experiment) if train.sequences is not None else None,
    )


def _sizes(experiment: Experiment) -> dict[str, Any]:
    own = experiment.sequence
    return networks.sizes_of(experiment.model.backbone, own.units, own.layers, own.tracker.model_dump())


def _earlier(source: Spec, own: str) -> tuple[str, ...]:
    """Digests of all rows that starting weights have seen, but for the present ones."""
    return tuple(dict.fromkeys(digest for digest in (source.digest, *source.earlier) if digest not in ("", own)))

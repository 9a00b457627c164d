"""A model and the images it is explained on, whether it is one classifier or an ensemble."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cellml.data import masks
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.explain import base, ensembles, panels
from cellml.explain.base import Attribution
from cellml.models.classifier import Classifier, Spec, calibrated
from cellml.models.ensemble import Ensemble


class Averaged(nn.Module):
    """An ensemble whose members share one view, as a network with logits: log of its mean probabilities."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.spec = replace(ensembles.frame(ensemble).spec, temperature=1.0, offsets=())

    def logits(self, prepared: torch.Tensor) -> torch.Tensor:
        """(N, C, S, S) raw pixel values to (N, K)."""
        parts = [
            weight * calibrated(member.spec, member.logits(prepared)).softmax(dim=1)
            for member, weight in self.ensemble.weighted()
        ]
        return torch.stack(parts).sum(dim=0).log()


@dataclass(frozen=True)
class Seen:
    """Rows of the data as the model sees them.

    Attributes:
        manifest: N rows.
        prepared: (N, C, S, S) raw pixel values; of an ensemble, those of `ensembles.frame`.
        images: N (S, S, 3) uint8 to lay maps over.
        explain: method, (N,) classes and options -> maps of (N, S, S).
    """

    manifest: Manifest
    prepared: torch.Tensor
    images: list[npt.NDArray[np.uint8]]
    explain: Callable[..., Attribution]


@dataclass(frozen=True)
class Subject:
    """A model, and the data it is explained on."""

    model: Classifier | Ensemble
    dataset: Dataset

    @property
    def spec(self) -> Spec:
        """Of the classifier whose view is shown."""
        return ensembles.frame(self.model).spec if isinstance(self.model, Ensemble) else self.model.spec

    @property
    def network(self) -> Classifier | None:
        """What gives the probabilities that maps are scored by; None for an ensemble of several views."""
        if isinstance(self.model, Classifier):
            return self.model
        views = {(member.spec.crop, member.spec.size) for member, _ in self.model.weighted()}
        return Averaged(self.model).eval() if len(views) == 1 else None  # type: ignore[return-value]  # has what is used

    def see(self, manifest: Manifest) -> Seen:
        """The rows of a manifest as the model sees them."""
        spec, pixels = self.spec, self.dataset.pixels
        if isinstance(self.model, Ensemble):
            ensemble, images = self.model, pixels.images(manifest.rows)
            prepared = ensembles.prepare(ensembles.frame(ensemble), images)

            def together(method: str, classes: npt.ArrayLike, **options: Any) -> Attribution:
                return ensembles.explain(method, ensemble, images, classes, **options)

            return Seen(manifest, prepared, panels.shown(prepared, spec), together)
        resized = pixels.resized(spec.crop, spec.size, manifest.rows)
        prepared = torch.from_numpy(resized.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
        classifier = self.model

        def alone(method: str, classes: npt.ArrayLike, **options: Any) -> Attribution:
            return base.explain(method, classifier, prepared, classes, **options)

        return Seen(manifest, prepared, panels.shown(prepared, spec), alone)

    def masks(self, manifest: Manifest) -> npt.NDArray[np.bool_] | None:
        """(N, S, S) masks of what should tell in the images, or None where the data have none."""
        return masks.read(manifest, self.dataset.root, self.spec.crop, self.spec.size)

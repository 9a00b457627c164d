"""Faithfulness: figures of how far maps can be trusted, image by image."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch

from cellml.explain import background, curves, localisation, stability
from cellml.explain.base import Attribution
from cellml.models.classifier import Classifier

Array = npt.NDArray[np.float64]

NAMES = {
    "deletion": "deletion",
    "insertion": "insertion",
    "pointing": "pointing_game",
    "mass": "relevance_mass",
    "background": "background",
    "sensitivity": "sensitivity",
}  # field of Faithfulness -> name of the metric
HIGHER_IS_BETTER = frozenset({"insertion", "pointing_game", "relevance_mass"})


@dataclass(frozen=True)
class Faithfulness:
    """What the maps of N images are worth; (N,) float64 each, NaN where a figure does not apply.

    Attributes:
        deletion: area under the probability as the most relevant pixels are hidden; low is good.
        insertion: the same as they are shown; high is good.
        pointing: 1 where the highest pixel lies in the mask, else 0.
        mass: part of the positive relevance inside the mask.
        background: part of the absolute relevance on empty background; low is good.
        sensitivity: largest relative change of the map under small noise; low is good.
        empty: part of the image that is empty background, and so what `background` is for a map without meaning.
    """

    deletion: Array
    insertion: Array
    pointing: Array
    mass: Array
    background: Array
    sensitivity: Array
    empty: Array

    def __post_init__(self) -> None:
        shapes = {f.name: getattr(self, f.name).shape for f in fields(self)}
        if len(set(shapes.values())) != 1 or self.deletion.ndim != 1:
            raise ValueError(f"expected one value an image, got shapes {shapes}")

    def __len__(self) -> int:
        return len(self.deletion)


def measure(
    classifier: Classifier,
    prepared: torch.Tensor,
    attribution: Attribution,
    masks: npt.NDArray[np.bool_] | None = None,
    explain_again: Callable[[torch.Tensor], Attribution] | None = None,
    seed: int = 0,
    *,
    steps: int = 20,
    batch_size: int = 128,
) -> Faithfulness:
    """Measure maps: what each figure is, and by which paper, is said in its own module.

    Takes 2 * `steps` forward passes an image and, for the sensitivity, `stability.DRAWS` further explanations.

    Args:
        classifier: what the maps explain.
        prepared: (N, C, H, W) raw pixel values that were explained.
        attribution: N maps of (H, W).
        masks: (N, H, W) bool, the part of each image that should count; an image whose mask marks nothing has none.
        explain_again: makes the maps of slightly changed images (N, C, H, W), of the same classes by the same method;
            None leaves the sensitivity out.
        seed: of the order of pixels of the same relevance, and of the noise.
        steps: points of the deletion and insertion curves.
        batch_size: changed images a pass.

    Returns:
        The figures of N images.

    Raises:
        ValueError: maps or masks of another shape than the images.
    """
    maps, shape = attribution.maps, (len(prepared), *prepared.shape[2:])
    if maps.shape != shape or (masks is not None and masks.shape != shape):
        raise ValueError(f"expected maps and masks of {shape}, got {maps.shape} and {getattr(masks, 'shape', None)}")
    marked = np.zeros(shape, dtype=bool) if masks is None else masks.astype(bool)
    deletion, insertion = curves.deletion_insertion(
        classifier, prepared, attribution.classes, maps, steps=steps, seed=seed, batch_size=batch_size
    )
    regions = background.empty(prepared, classifier.spec, marked)
    if explain_again is None:
        changes = np.full(len(maps), np.nan)
    else:
        changes = stability.sensitivity(maps, explain_again, prepared, classifier.spec, seed=seed)
    return Faithfulness(
        deletion=curves.area(deletion),
        insertion=curves.area(insertion),
        pointing=localisation.pointing(maps, marked, seed=seed),
        mass=localisation.mass(maps, marked),
        background=background.share(maps, regions),
        sensitivity=changes,
        empty=regions.mean(axis=(1, 2)),
    )


def summary(figures: Faithfulness) -> dict[str, float]:
    """Means over the images that have a figure, by metric name; a figure that no image has is left out.

    Returns:
        Some of `deletion`, `insertion`, `pointing_game`, `relevance_mass`, `background`, `sensitivity`.
    """
    values = {name: getattr(figures, field) for field, name in NAMES.items()}
    return {name: float(v[np.isfinite(v)].mean()) for name, v in values.items() if np.isfinite(v).any()}


def joined(parts: list[Faithfulness]) -> Faithfulness:
    """The figures of several batches, say classes, of one method as one."""
    return Faithfulness(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(parts[0])})

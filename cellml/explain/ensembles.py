"""Maps of an ensemble: the weighted mean of its members' maps, in one frame.

An ensemble's probability is the weighted mean of its members' probabilities. So is its gradient, and so is what it
loses when a part of the image is hidden: every member is explained with the score "probability", and the maps are
averaged with the ensemble's weights. Of Grad-CAM, whose maps are in the units of each member's activations, the mean is
one of pictures.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from cellml.explain import base
from cellml.explain.base import Attribution
from cellml.models.classifier import Classifier, Spec
from cellml.models.ensemble import Ensemble


def frame(ensemble: Ensemble) -> Classifier:
    """The member that sees most of an image, at the highest resolution: its view is the frame of the maps."""
    members = [member for member, _ in ensemble.weighted()]
    return max(members, key=lambda member: (member.spec.crop or float("inf"), member.spec.size))


def explain(
    name: str, ensemble: Ensemble, images: Sequence[npt.NDArray], classes: npt.ArrayLike, **options: Any
) -> Attribution:
    """Explain an ensemble's view of images by a registered method, see `base.explain`.

    What a member does not see, because its crop is smaller, is 0 in its map. Where the method cannot serve one of the
    members, all are explained by the method that stands in there.

    Args:
        name: a member of EXPLAINERS.
        ensemble: what is explained.
        images: N images (H, W, C) of any sizes, raw pixel values.
        classes: (N,) index of the class to explain for each image.
        **options: keyword options of the method.

    Returns:
        An Attribution with maps of (N, S, S) in the view of `frame`.

    Raises:
        UserError: as `base.explain`.
    """
    taken = base.EXPLAINERS.option_names(name)
    options = ({"score": "probability"} if "score" in taken else {}) | options
    view = frame(ensemble).spec
    shapes = [image.shape[:2] for image in images]
    total: npt.NDArray = np.zeros((len(images), view.size, view.size), dtype=np.float32)
    parts: list[npt.NDArray] = []
    found = None
    for member, weight in ensemble.weighted():
        found = base.explain(name, member, prepare(member, images), classes, **options)
        if found.fallback and found.method != name:
            stand_in = explain(found.method, ensemble, images, classes)
            return replace(stand_in, fallback=found.fallback)
        total += weight * placed(found.maps, member.spec, view, shapes)
        if found.channels is not None:
            planes = [placed(found.channels[:, c], member.spec, view, shapes) for c in range(found.channels.shape[1])]
            parts.append(weight * np.stack(planes, axis=1))
    assert found is not None
    channels = sum(parts[1:], start=parts[0]).astype(np.float32) if parts else None
    return Attribution(total, found.classes, name, channels=channels)


def prepare(member: Classifier, images: Sequence[npt.NDArray]) -> torch.Tensor:
    """What a member sees of N images (H, W, C) of any sizes: raw pixel values (N, C, S, S)."""
    device = next(member.parameters()).device
    return torch.cat([member.prepare(torch.from_numpy(image[None].copy()).to(device)) for image in images])


def placed(
    maps: npt.NDArray[np.float32], spec: Spec, view: Spec, shapes: Sequence[tuple[int, ...]]
) -> npt.NDArray[np.float32]:
    """Maps of one member in another's view, bilinear; 0 where the member sees nothing.

    Args:
        maps: (N, S, S) of the member.
        spec: of the member.
        view: of the other, side V.
        shapes: N times the height and width of the source image, in pixels.

    Returns:
        (N, V, V).
    """
    side = torch.arange(view.size, dtype=torch.float64)
    rows: list[torch.Tensor] = []
    columns: list[torch.Tensor] = []
    for shape in shapes:
        for axis, length in zip((rows, columns), shape, strict=True):
            start, extent = _seen(view.crop, length)
            own, width = _seen(spec.crop, length)
            axis.append(2 * (start + (side + 0.5) * extent / view.size - own) / width - 1)  # -1 and 1 at the edges
    y, x = torch.stack(rows), torch.stack(columns)
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=3)
    inside = (grid.abs() <= 1).all(dim=3)
    values = torch.from_numpy(maps).double()[:, None]
    sampled = F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]
    return (sampled * inside).float().numpy()


def _seen(crop: int | None, length: int) -> tuple[int, int]:
    """Start and extent, in source pixels, of what a central crop shows of a side."""
    return (0, length) if crop is None else ((length - crop) // 2, crop)

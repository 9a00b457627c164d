"""Relevance where there is nothing to see: a sign that a model looks at more than the cell."""

import numpy as np
import numpy.typing as npt
import torch
from skimage.filters import threshold_otsu

from cellml.explain import localisation
from cellml.models.classifier import Spec

Masks = npt.NDArray[np.bool_]
FEW = 0.25  # fewer of the images with an empty background than this are no reason for a warning
EVENLY_SPREAD = 0.75  # Otsu's separability of a uniform histogram; a Gaussian one has 2 / pi


def empty(prepared: torch.Tensor, spec: Spec, masks: Masks | None = None) -> Masks:
    """Where images show empty background: outside the mask or, where none is given, outside Otsu's foreground.

    Otsu's threshold (1979, IEEE Trans. SMC 9:62) halves the brightness, the mean over channels of the network's own
    range. The side that holds most of the image's outermost pixels is background. It counts as empty only where the
    halves are told apart (Otsu's eta, the share of the variance that lies between them) better than halves of a
    histogram without any gap: tissue that fills the frame has no empty background.

    Args:
        prepared: (N, C, H, W) raw pixel values.
        spec: of the classifier.
        masks: (N, H, W) bool, the cells; an image whose mask marks nothing goes by Otsu.

    Returns:
        (N, H, W) bool; nothing marked where no empty background is found.
    """
    low, high = (np.asarray(v, dtype=np.float64)[:, None, None] for v in (spec.low, spec.high))
    brightness = np.clip((prepared.detach().cpu().numpy() - low) / (high - low), 0, 1).mean(axis=1)
    found = np.stack([_outside(image) for image in brightness])
    if masks is None:
        return found
    return np.where(masks.any(axis=(1, 2), keepdims=True), ~masks, found)


def share(maps: npt.NDArray[np.float32], regions: Masks) -> npt.NDArray[np.float64]:
    """Part of the absolute relevance that lies on empty background.

    Args:
        maps: (N, H, W) signed.
        regions: (N, H, W) from `empty`.

    Returns:
        (N,) in [0, 1]; NaN where an image has no empty background or a map is 0 everywhere.
    """
    return np.where(regions.any(axis=(1, 2)), localisation.share(np.abs(maps), regions), np.nan)


def warning(method: str, shares: npt.ArrayLike, areas: npt.ArrayLike) -> str | None:
    """One line where a method's maps light up the empty background as much as maps without meaning would.

    Relevance that is spread at random falls on the background in proportion to its area; more than that, on the mean of
    the images, says that the model or the method finds something where there is nothing.

    Args:
        method: its name.
        shares: (N,) from `share`; NaN is left out.
        areas: (N,) part of each image that is empty background.

    Returns:
        The line, or None where all is well, or where most images have no empty background: what is found in the few
        others is pale tissue as likely as not.
    """
    parts, sizes = np.asarray(shares, dtype=np.float64), np.asarray(areas, dtype=np.float64)
    known = np.isfinite(parts)
    if known.mean() < FEW or not known.any() or parts[known].mean() <= sizes[known].mean():
        return None
    return (
        f"{method}: {parts[known].mean():.0%} of the relevance lies on empty background, which is "
        f"{sizes[known].mean():.0%} of the area ({_images(int(known.sum()))}): maps without meaning do no worse; "
        "see whether the background gives the class away before you trust these"
    )


def _outside(brightness: npt.NDArray[np.float64]) -> Masks:
    nothing = np.zeros(brightness.shape, dtype=bool)
    if np.ptp(brightness) == 0:
        return nothing
    bright = brightness > threshold_otsu(brightness)
    part = bright.mean()
    gap = brightness[bright].mean() - brightness[~bright].mean()
    if part * (1 - part) * gap**2 <= EVENLY_SPREAD * brightness.var():
        return nothing
    frame = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]])
    return bright if frame.mean() > 0.5 else ~bright


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"

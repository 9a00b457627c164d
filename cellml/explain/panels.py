"""Maps as colour: the pieces that sheets and reports are put together from."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image

from cellml.data.display import to_rgb
from cellml.models.classifier import Spec

AGAINST, FOR = (0.80, 0.12, 0.05), (0.0, 0.60, 0.42)  # red and green that colour-blind readers can tell apart
COLORS = LinearSegmentedColormap.from_list("against_for", [AGAINST, (1.0, 1.0, 1.0), FOR])


def shown(prepared: torch.Tensor, spec: Spec) -> list[npt.NDArray[np.uint8]]:
    """What the network saw, as RGB: the images a map may be laid over.

    Args:
        prepared: (N, C, H, W) raw pixel values, from `Classifier.prepare`.
        spec: of the classifier, whose raw-value range is the range of brightness.

    Returns:
        N arrays of (H, W, 3) uint8.
    """
    low, high = (np.asarray(v, dtype=np.float64) for v in (spec.low, spec.high))
    pixels = prepared.detach().cpu().permute(0, 2, 3, 1).numpy()
    return [to_rgb(np.rint(image).astype(spec.dtype), low=low, high=high) for image in pixels]


def scale_of(heat: npt.NDArray[np.float32]) -> float:
    """The value shown in full colour: the 99.5th percentile of a map's absolute values, or 1 for an empty map."""
    top = float(np.percentile(np.abs(heat), 99.5))
    return top if top > 0 else float(np.abs(heat).max()) or 1.0


def overlay(
    image: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32], scale: float | None = None
) -> npt.NDArray[np.uint8]:
    """A signed map over an image in grey: green for the class, red against it, the more colour the stronger.

    Args:
        image: (H, W, 3) uint8.
        heat: (h, w) signed map of the same field of view, enlarged bilinearly where it is smaller.
        scale: value shown in full colour; None for the map's own.

    Returns:
        (H, W, 3) uint8.
    """
    color, strength = colored(resized(heat, image.shape[:2]), scale_of(heat) if scale is None else scale)
    base = 0.15 + 0.8 * gray(image)[..., None] / 255
    return np.rint(255 * (base * (1 - strength[..., None]) + color * strength[..., None])).astype(np.uint8)


def colored(heat: npt.NDArray[np.float32], scale: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The colour of each value of a signed map, (..., 3) in 0..1, and how much of it is laid on, (...) in 0..0.75."""
    share = np.clip(heat / scale, -1, 1)
    return np.where(share[..., None] > 0, FOR, AGAINST), 0.75 * np.abs(share) ** 0.8


def gray(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Brightness of an RGB image (H, W, 3): (H, W) from 0 to 255, by the weights of ITU-R BT.601."""
    return image @ np.array([0.299, 0.587, 0.114])


def resized(heat: npt.NDArray[np.float32], size: Sequence[int]) -> npt.NDArray[np.float32]:
    """A map at another size (H, W), bilinear."""
    if heat.shape == tuple(size):
        return heat
    return np.asarray(Image.fromarray(heat).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def tile(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """An image in a square of `side` pixels, proportions kept, white beside it: (side, side, 3) uint8."""
    height, width = image.shape[:2]
    ratio = side / max(height, width)
    small = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    square = np.full((side, side, 3), 255, dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(image).resize(small, Image.Resampling.BICUBIC))
    top, left = (side - small[1]) // 2, (side - small[0]) // 2
    square[top : top + small[1], left : left + small[0]] = pixels
    return square

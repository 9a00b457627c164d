"""Superpixels: an image cut into patches of one colour each."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from skimage.segmentation import quickshift, slic

from cellml.errors import UserError

_COMPACTNESS = 0.3  # weight of distance in space against distance in brightness, of values from 0 to 1
_KERNEL = 0.17  # quickshift's kernel as a share of a superpixel's side


def segment(
    prepared: torch.Tensor, count: int = 50, kind: Literal["slic", "quickshift"] = "slic"
) -> npt.NDArray[np.int64]:
    """Cut images of any number of channels into about `count` superpixels each, the same at every call.

    Each channel counts alike: it is stretched from its smallest to its largest value.

    Args:
        prepared: (N, C, H, W) raw pixel values.
        count: how many are wanted; an image without structure may have fewer.
        kind: "slic" (Achanta et al. 2012: compact, of about one size) or "quickshift" (Vedaldi & Soatto 2008: follow
            the image more closely, in sizes that differ).

    Returns:
        (N, H, W) labels from 0, without gaps.

    Raises:
        UserError: an unknown kind, or fewer than one superpixel.
    """
    if kind not in ("slic", "quickshift"):
        raise UserError(f"Expected explain option 'kind' to be 'slic' or 'quickshift', got {kind!r}")
    if count < 1:
        raise UserError(f"Expected at least 1 superpixel, got {count}")
    cut = _slic if kind == "slic" else _quickshift
    pixels = prepared.detach().cpu().double().permute(0, 2, 3, 1).numpy()
    return np.stack([_numbered(cut(_stretched(image), count)) for image in pixels])


def _slic(image: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    return slic(
        image, n_segments=count, compactness=_COMPACTNESS, sigma=1, start_label=0, convert2lab=False, channel_axis=-1
    )


def _quickshift(image: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """The reach of its links that gives the number of superpixels nearest to the one wanted."""
    side = (image.shape[0] * image.shape[1] / count) ** 0.5
    kernel = max(1.0, _KERNEL * side)
    tried = [
        quickshift(
            image, ratio=1.0, kernel_size=kernel, max_dist=kernel * reach, convert2lab=False, rng=0, channel_axis=-1
        )
        for reach in (2.0, 3.0, 4.5)
    ]
    return min(tried, key=lambda labels: abs(len(np.unique(labels)) - count))


def _stretched(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Channels from 0 to 1, over the root of their number: the distance of two colours is at most 1."""
    low, high = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    return (image - low) / np.where(high > low, high - low, 1) / image.shape[2] ** 0.5


def _numbered(labels: npt.NDArray) -> npt.NDArray[np.int64]:
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int64)

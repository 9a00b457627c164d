"""Any image as an RGB picture that a person can look at."""

from typing import Any

import numpy as np
import numpy.typing as npt

PSEUDO_COLOURS = np.array(
    [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0.5, 0], [0.6, 0.6, 0.6]], dtype=np.float32
)  # blue first: the nuclear stain is most often channel 0
Values = npt.NDArray[np.floating[Any]]
PERCENTILES = (0.5, 99.8)


def to_rgb(
    image: npt.NDArray, low: npt.ArrayLike | None = None, high: npt.ArrayLike | None = None
) -> npt.NDArray[np.uint8]:
    """Turn an image of any number of channels into RGB.

    One channel becomes gray, two become magenta and green, three stay red, green and blue, more get a pseudo-colour
    each, added up and clipped. 8-bit images of up to three channels keep their values; others, and all images for
    which `low` or `high` is given, are stretched per channel so that `low` is black and `high` is full colour.

    Args:
        image: (H, W, C) or (H, W), uint8, uint16 or float.
        low: raw value shown black, scalar or (C,); default: the channel's 0.5 percentile.
        high: raw value shown at full intensity, scalar or (C,); default: the channel's 99.8 percentile.

    Returns:
        (H, W, 3) uint8, a new array.

    Raises:
        ValueError: the array has no rows, columns or channels, or is not two- or three-dimensional.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"expected an image of shape (H, W, C), got {image.shape}")
    channels = image.shape[2]
    if image.dtype == np.uint8 and channels <= 3 and low is None and high is None:
        low, high = 0, 255
    scaled = _stretch(image.astype(np.float32), low, high)
    return (np.clip(_colour(scaled), 0, 1) * 255 + 0.5).astype(np.uint8)


def _stretch(image: Values, low: npt.ArrayLike | None, high: npt.ArrayLike | None) -> Values:
    bottom = np.percentile(image, PERCENTILES[0], axis=(0, 1)) if low is None else np.asarray(low)
    top = np.percentile(image, PERCENTILES[1], axis=(0, 1)) if high is None else np.asarray(high)
    span = np.where(top > bottom, top - bottom, 1)
    return np.clip((image - bottom) / span, 0, 1)


def _colour(scaled: Values) -> Values:
    channels = scaled.shape[2]
    if channels == 1:
        return scaled.repeat(3, axis=2)
    if channels == 2:
        return np.stack([scaled[..., 0], scaled[..., 1], scaled[..., 0]], axis=2)
    if channels == 3:
        return scaled
    colours = PSEUDO_COLOURS[np.arange(channels) % len(PSEUDO_COLOURS)]
    return scaled @ colours

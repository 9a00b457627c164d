"""Four fixed changes of images for augmentation before training, each with random strength.

1: rotation by 15 to 30 degrees on white; 2: left-right flip and brightness; 3: up-down flip and contrast; 4: rotation
by 5 to 15 degrees on white and sharpness; brightness, contrast and sharpness by a factor from 0.9 to 1.1.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

TRANSFORMS = 4
_FACTOR = (0.9, 1.1)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13


def transform(
    images: npt.NDArray, numbers: npt.NDArray[np.integer], seed: int, items: npt.NDArray[np.integer] | None = None
) -> npt.NDArray:
    """Images after their offline changes; an item's random numbers depend on the seed and its position alone.

    Args:
        images: (M, H, W, C) uint8 or uint16.
        numbers: (M,) number of each one's change, 0 for none.
        seed: see `Sample.seed`.
        items: (M,) positions in the sample, where the images are some of its items; None: 0 to M - 1.

    Returns:
        (M, H, W, C) of the same type, a copy.
    """
    out = images.copy()
    for m in np.flatnonzero(numbers):
        rng = np.random.default_rng([seed, int(m if items is None else items[m])])
        out[m] = change(images[m], int(numbers[m]), rng)
    return out


def change(image: npt.NDArray, number: int, rng: np.random.Generator) -> npt.NDArray:
    """One image (H, W, C), uint8 or uint16, after one of the four changes."""
    if number == 1:
        return rotate(image, rng.uniform(15, 30))
    if number == 2:
        return brightness(image[:, ::-1], rng.uniform(*_FACTOR))
    if number == 3:
        return contrast(image[::-1], rng.uniform(*_FACTOR))
    if number == 4:
        turned = rotate(image, rng.uniform(5, 15))
        return sharpness(turned, rng.uniform(*_FACTOR))
    raise ValueError(f"expected a transform from 1 to {TRANSFORMS}, got {number}")


def rotate(image: npt.NDArray, degrees: float) -> npt.NDArray:
    """Turn counter-clockwise around the centre, bilinear; corners become white.

    White is 255 in 8-bit images and the brightest value of a 16-bit one, since cameras rarely fill 16 bits.
    """
    white = 255.0 if image.dtype == np.uint8 else float(image.max())
    turned = ndimage.rotate(
        image.astype(np.float32), degrees, axes=(1, 0), reshape=False, order=1, mode="constant", cval=white
    )
    return _stored(turned, image.dtype)


def brightness(image: npt.NDArray, factor: float) -> npt.NDArray:
    """Values times a factor."""
    return _stored(image * np.float32(factor), image.dtype)


def contrast(image: npt.NDArray, factor: float) -> npt.NDArray:
    """Differences from the mean of the whole image times a factor."""
    mean = image.mean(dtype=np.float64)
    return _stored(mean + factor * (image - mean), image.dtype)


def sharpness(image: npt.NDArray, factor: float) -> npt.NDArray:
    """Differences from the image smoothed over 3 x 3 pixels times a factor; the outermost pixels stay."""
    values = image.astype(np.float32)
    smooth = values.copy()
    inner = ndimage.convolve(values, _SMOOTH[:, :, None].astype(np.float32))
    smooth[1:-1, 1:-1] = inner[1:-1, 1:-1]
    return _stored(smooth + np.float32(factor) * (values - smooth), image.dtype)


def _stored(values: npt.NDArray, dtype: np.dtype) -> npt.NDArray:
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)

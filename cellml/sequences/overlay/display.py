"""Frames as pictures: one brightness for the whole movie, enlarged so that letters can be read."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from cellml.data.display import PERCENTILES, to_rgb
from cellml.sequences.movies import Movie

SIDE = 960  # pixels that the longer side of a picture has, if it is not larger by itself
LARGEST = 1600  # and at most
SAMPLES = 8  # frames that tell the range of brightness


@dataclass(frozen=True)
class Range:
    """Raw values that are shown black and at full intensity, (C,) each."""

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    @classmethod
    def of(cls, movie: Movie) -> "Range":
        """From the percentiles of some frames of a movie, spread over its length."""
        chosen = np.unique(np.linspace(0, len(movie) - 1, SAMPLES).astype(int))
        low, high = zip(
            *(np.percentile(movie.frame(t), PERCENTILES, axis=(0, 1)) for t in chosen.tolist()), strict=True
        )
        return cls(np.min(low, axis=0), np.max(high, axis=0))


def zoom(size: tuple[int, int]) -> float:
    """Pixels of the picture for one of a field of (H, W)."""
    longest = max(size)
    return min(max(1.0, SIDE / longest), LARGEST / longest)


def picture(frame: npt.NDArray, shown: Range, scale: float) -> Image.Image:
    """A frame (H, W, C) as an RGB picture of `scale` times its size."""
    height, width, channels = frame.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if channels == 1 and frame.dtype.itemsize <= 2:
        table = np.arange(1 << (8 * frame.dtype.itemsize), dtype=np.float32)
        span = max(float(shown.high[0] - shown.low[0]), 1e-9)
        table = np.clip((table - shown.low[0]) / span * 255, 0, 255).astype(np.uint8)
        gray = Image.fromarray(table[frame[:, :, 0]]).resize(size, Image.Resampling.BILINEAR)
        return Image.merge("RGB", (gray, gray, gray))
    rgb = to_rgb(frame, shown.low, shown.high)
    return Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR)

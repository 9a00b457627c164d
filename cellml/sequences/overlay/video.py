"""Frames as GIF, and as MP4 and GIF at once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cellml.sequences.overlay import mp4
from cellml.sequences.overlay.mp4 import Frames

FRAMES, SIDE, COLOURS = 200, 800, 128  # a GIF's, at most


class Gif:
    """Collects frames for a GIF, smaller and fewer than they come, so that it stays a file to mail.

    Args:
        count: of all frames.
        rate: frames a second of all of them.
    """

    def __init__(self, count: int, rate: float) -> None:
        self.step = -(-count // FRAMES)
        self.wait = round(1000 * self.step / rate)
        self._frames: list[Image.Image] = []
        self._palette: Image.Image | None = None
        self._seen = 0

    def add(self, frame: npt.NDArray[np.uint8]) -> None:
        """Take the next frame (H, W, 3) uint8, or pass it over."""
        if self._seen % self.step == 0:
            image = Image.fromarray(frame)
            ratio = min(1.0, SIDE / max(image.size))
            image = image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BILINEAR)
            if self._palette is None:
                self._palette = image.quantize(COLOURS, Image.Quantize.MEDIANCUT)
            self._frames.append(image.quantize(palette=self._palette, dither=Image.Dither.NONE))
        self._seen += 1

    def write(self, path: Path) -> None:
        """Write what was collected; it repeats for ever."""
        first, *others = self._frames
        first.save(path, save_all=True, append_images=others, duration=self.wait, loop=0, optimize=False)


def write(frames: Frames, count: int, folder: Path, name: str, rate: float) -> None:
    """Write `<name>.mp4` and `<name>.gif` into a folder, each frame drawn once.

    Args:
        frames: two or more of (H, W, 3) uint8 RGB, all of one size.
        count: how many there are.
        folder: that exists.
        name: of the files, without ending.
        rate: frames a second.
    """
    gif = Gif(count, rate)

    def passing() -> Iterator[npt.NDArray[np.uint8]]:
        for frame in frames:
            gif.add(frame)
            yield frame

    mp4.write(passing(), folder / f"{name}.mp4", rate)
    gif.write(folder / f"{name}.gif")

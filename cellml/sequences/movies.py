"""A movie, a folder of frames or one file of them, as frames that are read one at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellml.data import images, movie
from cellml.data.decode import crop
from cellml.data.images import Pixels
from cellml.data.tracks import fields
from cellml.errors import UserError


@dataclass(frozen=True)
class Movie:
    """Frames in order of time; none is held.

    Attributes:
        path: where it lies.
        names: (T,) what each frame is called in messages.
        shape: (H, W, C) of every frame.
        dtype: uint8 or uint16.
        first: number of the first frame in its file's name, 0 of one file of frames.
    """

    path: Path
    names: tuple[str, ...]
    shape: tuple[int, int, int]
    dtype: str
    first: int
    read: Callable[[int], Pixels]

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, t: int) -> Pixels:
        """Frame t, (H, W, C).

        Raises:
            UserError: it cannot be read, or is of another size or dtype than the first.
        """
        pixels = self.read(t)
        if pixels.shape != self.shape or pixels.dtype.name != self.dtype:
            raise UserError(
                f"Expected frames {_words(self.shape, self.dtype)} as the first one of {self.path}, got "
                f"{_words(pixels.shape, pixels.dtype.name)} in {self.names[t]}; leave it out or convert it"
            )
        return pixels


def opened(path: str | Path, channels: Sequence[int] | None = None) -> Movie:
    """Open a movie: a folder of frame images, a TIFF of several pages, or .npy.

    Args:
        path: of the folder or file.
        channels: channels to keep, in this order; None keeps all.

    Raises:
        UserError: nothing there, frames missing or of several sizes, a single frame, or a channel that is not there.
    """
    path = Path(path).expanduser().resolve()
    field = fields.field(path.parent, path.name)
    files = [path.parent / file for file in field.files]

    def read(t: int) -> Pixels:
        return movie.read_frame(path, t, channels) if field.paged else images.read_image(files[t], channels)

    start = read(0)
    shape = (start.shape[0], start.shape[1], start.shape[2])
    names = [f"{path.name}, frame {t}" for t in range(field.length)] if field.paged else field.files
    return Movie(path, tuple(names), shape, start.dtype.name, field.first, read)


def windows(whole: Movie, frames: Sequence[int], corners: np.ndarray, side: int) -> Movie:
    """Square windows of a movie as a movie of their own.

    Args:
        whole: the movie.
        frames: (T,) which frames.
        corners: (T, 2) left and top of each window; it may reach beyond the border, whose pixels then repeat.
        side: in pixels.
    """

    def read(t: int) -> Pixels:
        x, y = corners[t].tolist()
        return crop(whole.frame(frames[t]), (x, y, x + side, y + side))

    names = tuple(whole.names[t] for t in frames)
    return Movie(whole.path, names, (side, side, whole.shape[2]), whole.dtype, 0, read)


def _words(shape: tuple[int, ...], dtype: str) -> str:
    height, width, channels = shape
    return f"of {height} x {width} pixels, {channels} channels, {dtype}"

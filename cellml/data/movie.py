"""Movies in one file (TIFF of several pages, .npy), read one frame at a time so that memory holds only that."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from cellml.data import images
from cellml.data.images import BadImageError, Pixels

SUFFIXES = (".tif", ".tiff", ".npy")
FEW = 4  # a last axis of unknown meaning and up to this length holds channels

_local = threading.local()


class Movie:
    """Frames of one file, as `len(movie)` of (H, W, C) arrays.

    TIFF: the axis T, else the first one that is neither of space nor of channels (tools also call time Z, I or Q).
    .npy: (T, H, W), (T, H, W, C) or (T, C, H, W). Data that lie in one piece are mapped for one frame at a time, others
    decoded page by page.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a movie; only its header is read.

        Raises:
            BadImageError: no such file, no movie, pages of different sizes, or a stack in depth.
        """
        self.path = Path(path)
        self._file: tifffile.TiffFile | None = None
        try:
            shape, axes = self._npy() if self.path.suffix.lower() == ".npy" else self._tiff()
        except BadImageError:
            raise
        except FileNotFoundError:
            raise BadImageError(f"Expected a movie at {self.path}, found no file") from None
        except Exception as error:  # readers raise whatever a broken file makes them stumble over
            said = " ".join(str(error).split())
            raise BadImageError(
                f"Expected a TIFF or .npy at {self.path}, it cannot be read as a movie: {said}; save it anew"
            ) from None
        if axes == "QQYX" and shape[-1] <= FEW:  # (T, H, W, C), written without naming its axes
            axes = "TYXC"
        self._shape, self._axes = shape, axes
        others = [a for a in axes if a not in "YXSC"]
        self._time = "T" if "T" in axes else (others[0] if others else "")
        deep = [f"{a} of {n}" for a, n in zip(axes, shape, strict=True) if a in others and a != self._time and n > 1]
        if deep:
            raise BadImageError(
                f"Expected frames (T, H, W) or (T, H, W, C) in {self.path}, found axes {axes} with {deep[0]}; save one "
                "plane of it"
            )

    def __len__(self) -> int:
        return self._shape[self._axes.index(self._time)] if self._time else 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width, _ = self._last(np.broadcast_to(np.zeros((), np.uint8), self._frame_shape())).shape
        return height, width

    def __getitem__(self, frame: int) -> Pixels:
        """One frame, (H, W, C) uint8 or uint16.

        Raises:
            BadImageError: no such frame, or one that cannot be decoded.
        """
        if not 0 <= frame < len(self):
            raise BadImageError(f"Expected frames 0 to {len(self) - 1} of {self.path}, asked for {frame}")
        try:
            pixels = self._read(frame)
        except Exception as error:  # decoders raise whatever a broken file makes them stumble over
            raise BadImageError(f"Frame {frame} of {self.path} cannot be decoded: {error}") from None
        return np.ascontiguousarray(self._last(images.whole_numbers(pixels, self.path)))

    def _npy(self) -> tuple[tuple[int, ...], str]:
        array = np.load(self.path, mmap_mode="r")
        if array.ndim not in (3, 4):
            raise BadImageError(f"Expected (T, H, W) or (T, H, W, C) in {self.path}, got shape {array.shape}")
        last = array.ndim == 3 or array.shape[3] <= images.MANY_CHANNELS
        return array.shape, ("TYXC" if last else "TCYX")[: array.ndim]

    def _tiff(self) -> tuple[tuple[int, ...], str]:
        self._file = tifffile.TiffFile(self.path)
        first, *more = self._file.series
        if more:
            kinds = f"{first.shape} and {more[0].shape}"
            raise BadImageError(f"Expected frames of one size in {self.path}, found {kinds}; save them alike")
        return first.shape, first.axes

    def _read(self, frame: int) -> npt.NDArray:
        place = self._axes.index(self._time) if self._time else 0
        if self._file is None:
            return np.array(np.load(self.path, mmap_mode="r").take(frame, place))
        series: Any = self._file.series[0]
        if series.dataoffset is not None:
            dtype = series.dtype.newbyteorder(self._file.byteorder)
            mapped = np.memmap(self.path, dtype, "r", offset=series.dataoffset, shape=self._shape)
            return np.array(mapped[(slice(None),) * place + (frame,)] if self._time else mapped)
        lead = len(self._shape) - len(series.pages[0].shape)
        if place >= lead or not self._time:  # time within a page
            return series.asarray().take(frame, place) if self._time else series.asarray()
        numbers = np.arange(len(series.pages)).reshape(self._shape[:lead]).take(frame, place)
        pages = [series.pages[int(n)].asarray() for n in numbers.ravel()]
        return np.stack(pages).reshape(self._frame_shape())

    def _frame_shape(self) -> tuple[int, ...]:
        return tuple(n for a, n in zip(self._axes, self._shape, strict=True) if a != self._time)

    def _last(self, pixels: Pixels) -> Pixels:
        """(H, W, C) from what is left of the axes without time."""
        axes = [a for a in self._axes if a != self._time]
        kept = [k for k, a in enumerate(axes) if a in "YX"]
        order = [*kept, *(k for k in range(len(axes)) if k not in kept)]
        return pixels.transpose(order).reshape(pixels.shape[kept[0]], pixels.shape[kept[1]], -1)


def read_frame(path: str | Path, frame: int, channels: Sequence[int] | None = None) -> Pixels:
    """One frame of a movie, (H, W, C).

    Raises:
        BadImageError: no movie, no such frame, or one that cannot be decoded.
        UserError: a channel that the movie does not have.
    """
    return images.pick(_opened(Path(path))[frame], channels, Path(path))


def frame_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a movie's frames.

    Raises:
        BadImageError: no movie.
    """
    return _opened(Path(path)).size


def is_movie(path: str | Path) -> bool:
    """Whether a file has several frames."""
    path = Path(path)
    return path.suffix.lower() in SUFFIXES and path.is_file() and len(_opened(path)) > 1


def _opened(path: Path) -> Movie:
    """The movie at a path; each thread keeps the two that it used last open: a movie and its masks."""
    if not path.is_file():
        raise BadImageError(f"Expected a movie at {path}, found no file")
    found = path.stat()
    key = (path, found.st_mtime_ns, found.st_size)
    kept: dict[object, Movie] = _local.__dict__.setdefault("kept", {})
    movie = kept.pop(key, None) or Movie(path)
    kept[key] = movie
    while len(kept) > 2:
        del kept[next(iter(kept))]
    return movie

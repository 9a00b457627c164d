"""Windows around the cells of a movie, and what a model says of them, track by track."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from cellml.data.decode import crop
from cellml.sequences.cells import Cells
from cellml.sequences.movies import Movie

Show = Callable[[Iterable[int], str], Iterable[int]]  # a progress bar around something that is counted through
Stages = Callable[[npt.NDArray], npt.NDArray]  # windows of one track (T, H, W, C) -> probabilities (T, K)


@contextmanager
def cut(movie: Movie, cells: Cells, side: int, channels: int, show: Show) -> Iterator[npt.NDArray]:
    """Windows (N, side, side, channels) around N cells, in a file that goes with the block.

    Each frame is read once, and the windows are mapped from disk, so that neither the movie nor they are held.

    Args:
        movie: of one channel or of `channels`; one channel is repeated.
        cells: N rows.
        side: of the window in pixels; beyond the border the frame's pixels repeat.
        channels: of the model.
        show: progress.
    """
    shape = (len(cells), side, side, channels)
    with tempfile.TemporaryFile(prefix="cellml-windows-") as file:
        windows = np.memmap(file, movie.dtype, "w+", shape=shape)
        left, top = corners(cells, side).T.tolist()
        rows = cells.frames(len(movie))
        for t in show([t for t in range(len(movie)) if len(rows[t])], "cutting out cells"):
            frame = movie.frame(t)
            for row in rows[t].tolist():
                x, y = left[row], top[row]
                windows[row] = crop(frame, (x, y, x + side, y + side))
        yield windows
        del windows


def corners(cells: Cells, side: int) -> npt.NDArray[np.int64]:
    """Left and top of the window around each cell, (N, 2)."""
    return np.floor(cells.table[["x", "y"]].to_numpy(dtype=np.float64)).astype(np.int64) - side // 2


def probabilities(
    windows: npt.NDArray, cells: Cells, stages: Stages, count: int, show: Show
) -> npt.NDArray[np.float64]:
    """What a model says of each cell, a track at a time: (N, K), rows that sum to 1.

    Args:
        windows: (N, H, W, C).
        cells: N rows.
        stages: the model.
        count: K.
        show: progress.
    """
    said = np.zeros((len(cells), count))
    tracks = list(cells.tracks())
    for k in show(range(len(tracks)), "asking the model"):
        rows = tracks[k][1]
        said[rows] = stages(windows[rows])
    return said / said.sum(axis=1, keepdims=True)

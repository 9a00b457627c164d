"""Frames of movies put in order of time."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cellml.data.manifest import Manifest

Timeline = npt.NDArray[np.int64]  # positions of a sequence's rows in their manifest, in order of time


def timelines(manifest: Manifest) -> list[Timeline]:
    """Positions of each sequence's rows, in order of time; sequences in the order in which they first appear.

    Args:
        manifest: rows that are frames of movies.
    """
    sequences, frames = manifest.sequences, manifest.frames
    if sequences is None or frames is None:
        raise ValueError("expected rows that are frames of movies")
    _, first, which = np.unique(sequences.astype(str), return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))[which.ravel()]
    order = np.lexsort((frames, rank))
    return np.split(order, np.flatnonzero(np.diff(rank[order])) + 1) if len(order) else []


def padded(of: Sequence[Timeline]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Timelines side by side, (S, T), each filled up with its last frame's position, and their lengths (S,)."""
    lengths = np.array([len(one) for one in of], dtype=np.int64)
    places = np.minimum(np.arange(lengths.max(initial=0)), lengths[:, None] - 1)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])[: len(lengths), None]
    return np.concatenate(of)[starts + places] if len(lengths) else places.reshape(0, 0), lengths

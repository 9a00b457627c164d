"""How good counterfactuals are, and what they change, as numbers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from cellml.evaluation.intervals import interval, multiplicities

Array = npt.NDArray[np.float64]
CHANGED = 0.05  # of the range: a pixel that moved further counts as changed


@dataclass(frozen=True)
class Change:
    """What counterfactuals do to a channel's mean.

    Attributes:
        channel: its number.
        before: mean pixel value of the originals.
        after: of the counterfactuals.
        relative: (after - before) / before.
        low: of its 95 % interval over resampled groups.
        high: ditto.
    """

    channel: int
    before: float
    after: float
    relative: float
    low: float
    high: float


def validity(said: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> float:
    """Share of counterfactuals that a classifier, which had no part in making them, gives to the target."""
    return float((said == target).mean())


def proximity(original: npt.NDArray, changed: npt.NDArray, span: Array) -> Array:
    """Mean absolute change of a pixel in units of the range, (N,).

    Args:
        original: (N, C, H, W).
        changed: ditto.
        span: (C,) range of the channels.
    """
    return (np.abs(changed - original) / span[:, None, None]).mean(axis=(1, 2, 3))


def sparsity(original: npt.NDArray, changed: npt.NDArray, span: Array) -> Array:
    """Share of pixels that stay within `CHANGED` of the range in all channels, (N,); arguments as of `proximity`."""
    moved = np.abs(changed - original) / span[:, None, None] > CHANGED
    return 1 - moved.any(axis=1).mean(axis=(1, 2))


def realism(found: npt.NDArray, real: npt.NDArray) -> Array:
    """How far counterfactuals are from the nearest real cell, in units of what real cells are from each other, (N,).

    Args:
        found: (N, D) embeddings of counterfactuals by a classifier that had no part in making them.
        real: (M, D) embeddings of two or more real cells of the target class.

    Returns:
        Distance to the nearest real cell over the median distance of a real cell to its nearest; about 1 is real.
    """
    tree = NearestNeighbors(n_neighbors=2).fit(real)
    usual = np.median(tree.kneighbors(real)[0][:, 1])
    return tree.kneighbors(found, n_neighbors=1)[0][:, 0] / max(float(usual), np.finfo(np.float64).tiny)


def changes(
    original: npt.NDArray, changed: npt.NDArray, groups: npt.ArrayLike, resamples: int = 2000, seed: int = 0
) -> list[Change]:
    """Relative change of each channel's mean, with intervals over groups drawn with replacement.

    Args:
        original: (N, C, H, W).
        changed: ditto.
        groups: (N,) group of each image.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    before, after = (images.mean(axis=(2, 3), dtype=np.float64) for images in (original, changed))
    names, group = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    sums = np.stack([_sums(values, group, len(names)) for values in (before, after)])  # (2, G, C)
    drawn = [np.einsum("gr,agc->rac", times, sums) for times in multiplicities(len(names), resamples, seed)]
    first, second = np.concatenate(drawn).swapaxes(0, 1)  # (R, C) each
    found = []
    for c, (old, new) in enumerate(zip(before.mean(axis=0).tolist(), after.mean(axis=0).tolist(), strict=True)):
        range_ = interval((second[:, c] - first[:, c]) / first[:, c])
        found.append(Change(c, old, new, (new - old) / old, range_.low, range_.high))
    return found


def _sums(values: Array, group: npt.NDArray[np.int64], count: int) -> Array:
    found = np.zeros((count, values.shape[1]))
    np.add.at(found, group, values)
    return found

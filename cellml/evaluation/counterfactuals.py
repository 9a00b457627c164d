"""How good counterfactuals are, and what they change, as numbers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from cellml.evaluation.intervals import interval, multiplicities

Array = npt.NDArray[np.float64]
FIGURES = ("mean", "spread")
CHANGED = 0.05  # of the range: a pixel that moved further counts as changed


@dataclass(frozen=True)
class Change:
    """How a figure of a channel's pixels differs between two sets of images.

    Attributes:
        channel: its number.
        of: the figure, "mean" or "spread" (standard deviation) of an image's pixel values.
        before: its mean over the first images.
        after: over the second ones.
        relative: (after - before) / before.
        low: of its 95 % interval over resampled groups.
        high: ditto.
    """

    channel: int
    of: str
    before: float
    after: float
    relative: float
    low: float
    high: float


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
    """How far counterfactuals are from the nearest real cell, in units of what those are apart, (N,).

    Args:
        found: (N, D) embeddings of counterfactuals by a classifier that had no part in making them.
        real: (M, D) embeddings of real cells of the target class.

    Returns:
        Distance to the nearest real cell over the median distance of a real cell to its nearest; about 1 is real.
        NaN of fewer than two real cells.
    """
    if len(real) < 2:
        return np.full(len(found), np.nan)
    tree = NearestNeighbors(n_neighbors=2).fit(real)
    usual = np.median(tree.kneighbors(real)[0][:, 1])
    return tree.kneighbors(found, n_neighbors=1)[0][:, 0] / max(float(usual), np.finfo(np.float64).tiny)


def of_channels(images: npt.NDArray) -> Array:
    """Figures of each channel's pixel values, (N, len(FIGURES), C) of images (N, C, H, W)."""
    return np.stack([images.mean(axis=(2, 3), dtype=np.float64), images.std(axis=(2, 3), dtype=np.float64)], axis=1)


def changes(before: Array, after: Array, groups: npt.ArrayLike, resamples: int = 2000, seed: int = 0) -> list[Change]:
    """Relative change of each figure of each channel, the same images before and after; groups are drawn anew.

    Args:
        before: (N, F, C) of `of_channels`.
        after: ditto.
        groups: (N,) group of each image.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    drawn = _drawn(np.stack([before, after], axis=1), groups, resamples, seed)  # (R, 2, F, C)
    return _changes(before, after, drawn[:, 0], drawn[:, 1])


def differences(
    first: Array, of_first: npt.ArrayLike, second: Array, of_second: npt.ArrayLike, resamples: int = 2000, seed: int = 0
) -> list[Change]:
    """Relative difference of the second images from the first ones, other images; each side's groups are drawn anew.

    Args:
        first: (N, F, C) of `of_channels`.
        of_first: (N,) group of each image.
        second: (M, F, C).
        of_second: (M,).
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    sides = ((first, of_first, seed), (second, of_second, seed + 1))
    return _changes(first, second, *(_drawn(values, groups, resamples, from_) for values, groups, from_ in sides))


def _drawn(values: Array, groups: npt.ArrayLike, resamples: int, seed: int) -> Array:
    """Means (R, ...) of values (N, ...) when groups come as often as they are drawn; NaN of no values."""
    if not len(values):
        return np.full((resamples, *values.shape[1:]), np.nan)
    names, group = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, group, values)
    sizes, parts = np.bincount(group), []
    for times in multiplicities(len(names), resamples, seed):
        parts.append(np.tensordot(times.T, sums, axes=1) / (sizes @ times).reshape(-1, *[1] * (values.ndim - 1)))
    return np.concatenate(parts)


def _changes(before: Array, after: Array, drawn_before: Array, drawn_after: Array) -> list[Change]:
    found = []
    for c in range(before.shape[2]):
        for f, name in enumerate(FIGURES):
            old, new = (float(side[:, f, c].mean()) if len(side) else np.nan for side in (before, after))
            with np.errstate(divide="ignore", invalid="ignore"):
                range_ = interval(drawn_after[:, f, c] / drawn_before[:, f, c] - 1)
            found.append(Change(c, name, old, new, new / old - 1 if old else float("nan"), range_.low, range_.high))
    return found

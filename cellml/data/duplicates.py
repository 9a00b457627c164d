"""Near-duplicate images: perceptual hashes that see through flips and quarter turns, confirmed pixel by pixel."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import dct
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array

SIDE = 32  # of a thumbnail, in pixels
LOW = 8  # frequencies an axis that make the hash: 63 bits, the mean left out
BITS = 10  # hashes that differ in more bits are different images
CORRELATION = 0.95  # of two thumbnails
DETAIL = 0.9  # of what a blur takes away: cells of one kind share their outline, copies also their texture
CHUNK = 2**22  # hash comparisons held in memory at once
SAMPLE = 64  # images from which the channels' typical contrast is taken
PAIRS = 2**12  # thumbnails, or pairs of them, worked on at once
BASIS = dct(np.eye(SIDE), axis=0, norm="ortho")[:LOW]


class Pair(NamedTuple):
    """Positions of two images that are near-duplicates and how well their thumbnails correlate, 0 to 1."""

    first: int
    second: int
    correlation: float


def thumbnail(image: npt.NDArray) -> npt.NDArray[np.float32]:
    """Average an image of (H, W, C) over a grid of SIDE x SIDE cells, exactly and channel by channel."""
    height, width, channels = image.shape
    rows = _areas(height) @ image.reshape(height, -1).astype(np.float32)
    columns = rows.reshape(SIDE, width, channels).transpose(1, 0, 2).reshape(width, -1)
    return (_areas(width) @ columns).reshape(SIDE, SIDE, channels).transpose(1, 0, 2)


def summarise(images: Callable[[int], npt.NDArray], count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray]:
    """Gray thumbnails and the contrast of each image.

    Args:
        images: position 0 to count - 1 -> (H, W, C) image; C is the same for all.
        count: number of images.

    Returns:
        (count, SIDE, SIDE) thumbnails, each channel scaled by its typical contrast in a sample, then averaged; and
        (count, C) standard deviation of each image's thumbnail.
    """
    sample = np.stack([thumbnail(images(int(i))) for i in np.linspace(0, count - 1, min(count, SAMPLE)).round()])
    spread = sample.std(axis=(1, 2)).mean(axis=0)
    scale = np.where(spread > 0, spread, 1)
    gray = np.empty((count, SIDE, SIDE), dtype=np.float32)
    contrast = np.empty((count, len(spread)))
    for i in range(count):
        small = thumbnail(images(i))
        gray[i], contrast[i] = (small / scale).mean(axis=2), small.std(axis=(0, 1))
    return gray, contrast


def near_duplicates(
    gray: npt.NDArray[np.float32], parts: npt.NDArray, *, bits: int = BITS, correlation: float = CORRELATION
) -> list[Pair]:
    """Pairs of images from different parts that show the same picture, up to flips and quarter turns.

    Candidates have perceptual hashes (signs of the low DCT frequencies, after Zauner 2010) within `bits` under one of
    the eight symmetries of the square. A candidate counts when both the thumbnails and their fine detail correlate, so
    that cells of one kind are not taken for copies.

    Args:
        gray: (N, SIDE, SIDE) thumbnails.
        parts: (N,) str, the part (the split) each belongs to; pairs within one part are not looked for.
        bits: largest Hamming distance of the hashes, 0 to 63.
        correlation: smallest Pearson correlation of the thumbnails.

    Returns:
        Pairs with first < second, in that order; flat images are never among them.
    """
    best: dict[tuple[int, int], float] = {}
    for first, second, view in _candidates(hashes(gray), parts, bits):
        for at in range(0, len(first), PAIRS):
            i, j = first[at : at + PAIRS], second[at : at + PAIRS]
            same = _correlate(gray[i], turned(gray[j], view))
            i, j, same = i[same >= correlation], j[same >= correlation], same[same >= correlation]
            fine = _correlate(_detail(gray[i]), _detail(turned(gray[j], view))) >= DETAIL
            for a, b, value in zip(i[fine].tolist(), j[fine].tolist(), same[fine].tolist(), strict=True):
                key = (min(a, b), max(a, b))
                best[key] = max(best.get(key, 0.0), min(value, 1.0))
    return [Pair(i, j, value) for (i, j), value in sorted(best.items())]


def hashes(gray: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """Perceptual hashes of (N, SIDE, SIDE) thumbnails as each symmetry shows them, (8, N); row 0 is as they are.

    A flip changes the sign of the odd DCT frequencies of its axis and a transposition swaps the axes, so one transform
    serves all eight views.
    """
    low = np.empty((len(gray), LOW, LOW))
    for at in range(0, len(gray), PAIRS):
        low[at : at + PAIRS] = BASIS @ gray[at : at + PAIRS].astype(np.float64) @ BASIS.T
    sign = (-1.0) ** np.arange(LOW)
    codes = []
    for view in range(8):
        seen = low.transpose(0, 2, 1) if view & 4 else low
        seen = seen * sign[:, None] if view & 1 else seen
        seen = seen * sign if view & 2 else seen
        bits = seen.reshape(len(gray), -1) > 0
        bits[:, 0] = False
        codes.append(np.packbits(bits, axis=1).view(np.uint64).ravel())
    return np.stack(codes)


def turned(images: npt.NDArray, view: int) -> npt.NDArray:
    """One of the eight symmetries of the square, 0 to 7 (0 changes nothing), of (N, S, S, ...) images."""
    seen = images.swapaxes(1, 2) if view & 4 else images
    seen = seen[:, ::-1] if view & 1 else seen
    return seen[:, :, ::-1] if view & 2 else seen


def _candidates(
    codes: npt.NDArray[np.uint64], parts: npt.NDArray, bits: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]]:
    names = sorted(set(parts.tolist()))
    for a, name in enumerate(names):
        mine = np.flatnonzero(parts == name)
        others = np.flatnonzero(np.isin(parts, names[a + 1 :]))
        if not len(others):
            continue
        rows = max(1, CHUNK // len(others))
        for start in range(0, len(mine), rows):
            part = mine[start : start + rows]
            for view in range(8):
                distance = np.bitwise_count(codes[0, part][:, None] ^ codes[view, others][None, :])
                i, j = np.nonzero(distance <= bits)
                yield part[i], others[j], view


def _detail(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return images - gaussian_filter(images, (0, 1.5, 1.5), mode="nearest")


def _correlate(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.einsum("nij,nij->n", _unit(a), _unit(b))


def _unit(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    norm = np.linalg.norm(centred, axis=(1, 2), keepdims=True)
    flat = norm <= 1e-4 * np.abs(images).max(axis=(1, 2), keepdims=True, initial=0)
    return np.where(flat, 0, centred / np.where(flat, 1, norm))


@lru_cache(maxsize=1024)
def _areas(length: int) -> csr_array:
    edges = np.arange(SIDE + 1) * length / SIDE
    pixel = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return csr_array((np.clip(overlap, 0, None) * SIDE / length).astype(np.float32))

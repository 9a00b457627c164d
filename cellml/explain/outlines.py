"""Superpixel outlines: the regions that spoke most for (green) and against (red) a class, on the colour image."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from cellml.explain import canvas, panels

WEAK = 0.25  # share of the strongest region's contribution below which a region is not outlined
_COLUMNS, _SIDE, _CAPTION = 4, 212, 22
_STEP = (canvas.WIDTH - 20) // _COLUMNS


def regions(
    heat: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], most: int = 5
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The superpixels with the largest contributions: sums of the map over their pixels.

    Args:
        heat: (H, W) signed.
        labels: (H, W) superpixel of each pixel, from 0.
        most: how many of each sign.

    Returns:
        Labels that speak for the class and labels that speak against it, strongest first, without those under a
        quarter of the strongest.
    """
    sums = np.bincount(labels.ravel(), weights=heat.ravel().astype(np.float64))
    order = np.argsort(-np.abs(sums), kind="stable")
    strong = order[np.abs(sums[order]) > WEAK * np.abs(sums).max()]
    return strong[sums[strong] > 0][:most], strong[sums[strong] < 0][:most]


def outlined(
    image: npt.NDArray[np.uint8],
    heat: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    *,
    side: int = _SIDE,
    most: int = 5,
) -> npt.NDArray[np.uint8]:
    """An image with its strongest superpixels outlined.

    Args:
        image: (H, W, 3) uint8.
        heat: (H, W) signed map.
        labels: (H, W) superpixel of each pixel, from 0.
        side: pixels of the picture's longer side; enlarged before the lines are drawn, so that they stay thin.
        most: how many superpixels of each sign.

    Returns:
        (h, w, 3) uint8.
    """
    height, width = labels.shape
    ratio = side / max(height, width)
    size = max(1, round(height * ratio)), max(1, round(width * ratio))
    picture = np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
    rows, columns = (np.arange(n) * old // n for n, old in zip(size, (height, width), strict=True))
    enlarged = labels[rows[:, None], columns]
    speaking_for, against = regions(heat, labels, most)
    for chosen, color in ((against, panels.AGAINST), (speaking_for, panels.FOR)):
        for label in chosen:
            region = enlarged == label
            picture[region & ~ndimage.binary_erosion(region, iterations=2)] = np.rint(255 * np.array(color))
    return picture


def sheet(
    images: Sequence[npt.NDArray[np.uint8]],
    maps: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    captions: Sequence[str],
    *,
    title: str,
    explained: str,
    most: int = 32,
) -> Figure:
    """Outlined images of one class, four a row.

    Args:
        images: N (H, W, 3) uint8.
        maps: (N, H, W) signed, all explaining `explained`.
        labels: (N, H, W) superpixels that the maps were made with.
        captions: (N,) short texts beneath.
        title: method, model, split.
        explained: name of the class that the maps explain.
        most: how many images are shown, the first ones.

    Returns:
        A figure 900 pixels wide.

    Raises:
        ValueError: no images, or lengths that differ.
    """
    n = len(images)
    if not n or any(len(v) != n for v in (maps, labels, captions)):
        raise ValueError(f"expected as many maps, superpixels and captions as images, got {n} images")
    n = min(n, most)
    row = _SIDE + _CAPTION
    corners = [(10 + (k % _COLUMNS) * _STEP, canvas.HEAD + (k // _COLUMNS) * row) for k in range(n)]
    pixels = canvas.blank(canvas.HEAD + -(-n // _COLUMNS) * row + 40)
    for k, (left, top) in enumerate(corners):
        canvas.place(pixels, outlined(images[k], maps[k], labels[k]), left + 4, top, _SIDE)
    figure, axes = canvas.page(pixels)
    canvas.title(axes, f"Regions that spoke for and against: {explained}", title)
    for caption, (left, top) in zip(captions, corners, strict=False):
        canvas.write(axes, left + 4, top + _SIDE + 4, caption, _SIDE, fontsize=7.6, color=canvas.SOFT)
    foot, middle = len(pixels) - 20, canvas.WIDTH / 2
    style = {"fontsize": 9, "va": "center", "fontweight": "bold"}
    canvas.write(axes, middle - 12, foot, f"red: against {explained}", 420, ha="right", color=panels.AGAINST, **style)
    canvas.write(axes, middle + 12, foot, f"green: for {explained}", 420, ha="left", color=panels.FOR, **style)
    return figure

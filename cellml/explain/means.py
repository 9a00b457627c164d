"""Class-mean heatmaps: what a model looks at on the average image of each class."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cellml.explain import canvas, panels

_COLUMNS, _SIDE = 4, 104
_PAIR = (canvas.WIDTH - 20) // _COLUMNS
_ROW = _SIDE + 44


def mean_map(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean of maps (N, H, W), each first divided by its own `panels.scale_of`, so that every image counts alike."""
    return np.mean([heat / panels.scale_of(heat) for heat in maps], axis=0, dtype=np.float32)


def sheet(
    images: Sequence[npt.NDArray[np.uint8]],
    maps: npt.NDArray[np.float32],
    explained: npt.ArrayLike,
    predicted: npt.ArrayLike,
    classes: Sequence[str],
    *,
    title: str,
) -> Figure:
    """Each class's mean image beside its mean map, of the images predicted so and explained by that class.

    Args:
        images: N (H, W, 3) uint8, all of one size.
        maps: (N, h, w) signed.
        explained: (N,) index of the class that each map explains.
        predicted: (N,) index of the predicted class; images whose map explains another one are left out.
        classes: K class names.
        title: method, model, split.

    Returns:
        A figure 900 pixels wide, all means coloured on one scale.

    Raises:
        ValueError: lengths or sizes that differ.
    """
    explained, predicted = np.asarray(explained), np.asarray(predicted)
    if any(len(v) != len(images) for v in (maps, explained, predicted)):
        raise ValueError(f"expected as many maps and classes as images, got {len(images)} images")
    if len({image.shape for image in images}) > 1:
        raise ValueError("expected images of one size, got several")
    members = [np.flatnonzero((explained == k) & (predicted == k)) for k in range(len(classes))]
    means = {k: mean_map(maps[rows]) for k, rows in enumerate(members) if len(rows)}
    scale = max((panels.scale_of(heat) for heat in means.values()), default=1.0)
    corners = [(10 + (k % _COLUMNS) * _PAIR, canvas.HEAD + (k // _COLUMNS) * _ROW) for k in range(len(classes))]
    bottom = canvas.HEAD + -(-len(classes) // _COLUMNS) * _ROW
    pixels = canvas.blank(bottom + canvas.LEGEND)
    for k, (left, top) in enumerate(corners):
        pixels[top : top + _SIDE, left + 4 : left + 6 + 2 * _SIDE] = 238
        if k in means:
            average = np.rint(np.mean([images[i] for i in members[k].tolist()], axis=0)).astype(np.uint8)
            canvas.place(pixels, average, left + 4, top, _SIDE)
            canvas.place(pixels, panels.overlay(average, means[k], scale), left + 6 + _SIDE, top, _SIDE)
    figure, axes = canvas.page(pixels)
    canvas.title(axes, "Mean image and mean map of each class", title)
    for name, rows, (left, top) in zip(classes, members, corners, strict=True):
        canvas.write(axes, left + 4, top + _SIDE + 5, name, 2 * _SIDE, fontsize=8.4, fontweight="bold")
        count = f"n = {len(rows)} predicted so" if len(rows) else "none predicted so"
        canvas.write(axes, left + 4, top + _SIDE + 20, count, fontsize=7.6, color=canvas.SOFT)
    note = f"Every map counts alike: scaled to its own largest value, then averaged. Full colour: {scale:.2g} in all."
    canvas.legend(axes, bottom, "the class", note)
    return figure

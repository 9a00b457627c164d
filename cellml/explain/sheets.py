"""Contact sheets: the images of one class beside what spoke for and against it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cellml.explain import panels

RIGHT, WRONG, UNKNOWN = "#1a7f37", "#c1121f", "#6e7781"
_DPI = 100
_WIDTH = 900  # pixels: as wide as the MLflow UI shows a figure without shrinking it
_COLUMNS = 4
_SIDE = 104
_PAIR = (_WIDTH - 20) // _COLUMNS
_ROW = _SIDE + 58
_HEAD, _FOOT = 62, 58
_MARGIN = 164  # pixels beside the legend


def contact_sheet(
    images: Sequence[npt.NDArray[np.uint8]],
    maps: npt.NDArray[np.float32],
    *,
    explained: str,
    true: Sequence[str],
    predicted: Sequence[str],
    probability: npt.ArrayLike,
    ids: Sequence[str],
    title: str = "",
    most: int = 32,
) -> Figure:
    """One class's images, each beside its map, right ones framed in green and wrong ones in red.

    Args:
        images: N (H, W, 3) uint8, of the field of view that the maps have.
        maps: (N, h, w) signed, all explaining `explained`; each is coloured by its own largest value.
        explained: name of the class that the maps explain.
        true: (N,) class names, "" where unknown.
        predicted: (N,) class names.
        probability: (N,) probability of the explained class.
        ids: (N,) image ids.
        title: what else to say above: method, model, split.
        most: how many are shown, the first ones.

    Returns:
        A figure 900 pixels wide.

    Raises:
        ValueError: no images, or lengths that differ.
    """
    n = len(images)
    chance = np.asarray(probability, dtype=np.float64)
    if not n or any(len(v) != n for v in (maps, true, predicted, chance, ids)):
        raise ValueError(f"expected as many maps, names, probabilities and ids as images, got {n} images")
    n = min(n, most)
    rows = -(-n // _COLUMNS)
    corners = [(10 + (k % _COLUMNS) * _PAIR, _HEAD + (k // _COLUMNS) * _ROW) for k in range(n)]
    pixels = np.full((_HEAD + rows * _ROW + _FOOT, _WIDTH, 3), 255, dtype=np.uint8)
    for image, heat, (left, top) in zip(images, maps, corners, strict=False):
        for column, picture in ((left + 4, image), (left + 6 + _SIDE, panels.overlay(image, heat))):
            pixels[top + 4 : top + 4 + _SIDE, column : column + _SIDE] = panels.tile(picture, _SIDE)
    ramp = (panels.COLORS(np.linspace(0, 1, _WIDTH - 2 * _MARGIN))[:, :3] * 255).astype(np.uint8)
    pixels[-_FOOT + 8 : -_FOOT + 20, _MARGIN:-_MARGIN] = ramp
    figure, axes = _page(pixels)
    hits = sum(t == p for t, p in zip(true[:n], predicted[:n], strict=True))
    judged = sum(bool(t) for t in true[:n])
    _write(axes, 14, 16, f"What spoke for and against: {explained}", fontsize=13, fontweight="bold")
    count = f"{hits} of {judged} shown are right" if judged else "true class unknown"
    _write(axes, 14, 40, " · ".join(filter(None, [title, count])), fontsize=9, color="#444444")
    for k, corner in enumerate(corners):
        _verdict(axes, corner, true[k], predicted[k])
        lines = ((14, 7.6, f"P({_short(explained, 18)}) = {chance[k]:.2f}"), (28, 6.8, _short(str(ids[k]), 36)))
        for down, size, text in lines:
            _write(axes, corner[0] + 3, corner[1] + _SIDE + 10 + down, text, fontsize=size, color="#444444")
    _legend(axes, explained, _HEAD + rows * _ROW)
    return figure


def strip(
    images: Sequence[npt.NDArray[np.uint8]],
    maps: npt.NDArray[np.float32],
    captions: Sequence[str] = (),
    *,
    most: int = 6,
) -> Figure:
    """A row of overlays without frames or legend, for a table or report.

    Args:
        images: N (H, W, 3) uint8.
        maps: (N, h, w) signed.
        captions: N short texts beneath, or none.
        most: how many are shown, the first ones.

    Returns:
        A figure with square tiles of 110 pixels.

    Raises:
        ValueError: no images, or lengths that differ.
    """
    if not images or len(maps) != len(images) or (captions and len(captions) != len(images)):
        raise ValueError(f"expected as many maps and captions as images, got {len(images)} images")
    n, side, foot = min(len(images), most), 110, 18 if captions else 0
    pixels = np.full((side + foot, n * (side + 4) - 4, 3), 255, dtype=np.uint8)
    lefts = [k * (side + 4) for k in range(n)]
    for image, heat, left in zip(images, maps, lefts, strict=False):
        pixels[:side, left : left + side] = panels.tile(panels.overlay(image, heat), side)
    figure, axes = _page(pixels)
    for caption, left in zip(captions, lefts, strict=False):
        _write(axes, left + side / 2, side + 3, _short(caption, 17), fontsize=8, ha="center")
    return figure


def _page(pixels: npt.NDArray[np.uint8]) -> tuple[Figure, Axes]:
    """A figure that shows pixels one to one; data coordinates are pixels from the top left."""
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    axes.set_axis_off()
    return figure, axes


def _verdict(axes: Axes, corner: tuple[int, int], true: str, predicted: str) -> None:
    left, top = corner
    color = UNKNOWN if not true else RIGHT if true == predicted else WRONG
    axes.add_patch(Rectangle((left + 2, top + 2), 2 * _SIDE + 6, _SIDE + 4, fill=False, edgecolor=color, linewidth=2.2))
    if not true:
        verdict = f"predicted {_short(predicted, 24)}"
    elif true == predicted:
        verdict = f"right: {_short(true, 26)}"
    else:
        verdict = f"wrong: {_short(true, 11)}, said {_short(predicted, 11)}"
    _write(axes, left + 3, top + _SIDE + 10, verdict, fontsize=7.6, fontweight="bold", color=color)


def _legend(axes: Axes, explained: str, top: int) -> None:
    left, right = _MARGIN, _WIDTH - _MARGIN
    name = _short(explained, 14)
    _write(axes, left - 8, top + 14, f"against {name}", fontsize=9, ha="right", va="center", color=panels.AGAINST)
    _write(axes, right + 8, top + 14, f"for {name}", fontsize=9, ha="left", va="center", color=panels.FOR)
    note = "Each map is coloured by its own largest value. Frame: green right, red wrong."
    _write(axes, _WIDTH / 2, top + 30, note, fontsize=8, ha="center", va="top", color="#444444")


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Text as it stands: a dollar sign in a name starts no formula."""
    axes.text(x, y, text, parse_math=False, **{"va": "top", **style})


def _short(text: str, most: int) -> str:
    """A text cut in the middle to at most so many characters."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"

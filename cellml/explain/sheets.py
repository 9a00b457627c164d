"""Contact sheets: the images of one class beside what spoke for and against it."""

from collections.abc import Sequence

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
_HEAD, _FOOT = 62, 66


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
    figure, axes = _page(_HEAD + rows * _ROW + _FOOT)
    hits = sum(t == p for t, p in zip(true[:n], predicted[:n], strict=True))
    judged = sum(bool(t) for t in true[:n])
    axes.text(14, 16, f"What spoke for and against: {explained}", fontsize=13, fontweight="bold", va="top")
    count = f"{hits} of {judged} shown are right" if judged else "true class unknown"
    axes.text(14, 40, " · ".join(filter(None, [title, count])), fontsize=9, color="#444444", va="top")
    for k in range(n):
        corner = (10 + (k % _COLUMNS) * _PAIR, _HEAD + (k // _COLUMNS) * _ROW)
        _pair(axes, corner, images[k], maps[k])
        _caption(axes, corner, true[k], predicted[k], float(chance[k]), explained, str(ids[k]))
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
    figure, axes = _page(side + foot, n * (side + 4) - 4)
    for k in range(n):
        left = k * (side + 4)
        _draw(axes, panels.tile(panels.overlay(images[k], maps[k]), side), left, 0)
        if captions:
            axes.text(left + side / 2, side + 3, _short(captions[k], 17), fontsize=8, ha="center", va="top")
    return figure


def _page(height: int, width: int = _WIDTH) -> tuple[Figure, Axes]:
    """A white page whose data coordinates are pixels from the top left."""
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return figure, axes


def _draw(axes: Axes, pixels: npt.NDArray[np.uint8], left: float, top: float) -> None:
    height, width = pixels.shape[:2]
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(pixels, extent=(left, left + width, top + height, top), interpolation="none", aspect="auto")
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _pair(axes: Axes, corner: tuple[int, int], image: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> None:
    left, top = corner
    _draw(axes, panels.tile(image, _SIDE), left + 4, top + 4)
    _draw(axes, panels.tile(panels.overlay(image, heat), _SIDE), left + 6 + _SIDE, top + 4)


def _caption(
    axes: Axes, corner: tuple[int, int], true: str, predicted: str, chance: float, explained: str, name: str
) -> None:
    left, top = corner
    color = UNKNOWN if not true else RIGHT if true == predicted else WRONG
    axes.add_patch(Rectangle((left + 2, top + 2), 2 * _SIDE + 6, _SIDE + 4, fill=False, edgecolor=color, linewidth=2.2))
    if not true:
        verdict = f"predicted {_short(predicted, 24)}"
    elif true == predicted:
        verdict = f"right: {_short(true, 26)}"
    else:
        verdict = f"wrong: {_short(true, 14)} taken for {_short(predicted, 14)}"
    y = top + _SIDE + 10
    axes.text(left + 3, y, verdict, fontsize=7.6, fontweight="bold", color=color, va="top")
    axes.text(left + 3, y + 14, f"P({_short(explained, 18)}) = {chance:.2f}", fontsize=7.6, va="top")
    axes.text(left + 3, y + 28, _short(name, 36), fontsize=6.8, color="#666666", va="top")


def _legend(axes: Axes, explained: str, top: int) -> None:
    left, right = 14 + 150, _WIDTH - 14 - 150
    ramp = (panels.COLORS(np.linspace(0, 1, right - left))[None, :, :3] * 255).astype(np.uint8)
    _draw(axes, ramp.repeat(12, axis=0), left, top + 8)
    name = _short(explained, 14)
    axes.text(left - 8, top + 14, f"against {name}", fontsize=9, ha="right", va="center", color=panels.AGAINST)
    axes.text(right + 8, top + 14, f"for {name}", fontsize=9, ha="left", va="center", color=panels.FOR)
    note = "Each map is coloured by its own largest value. Frame: green right, red wrong."
    axes.text(_WIDTH / 2, top + 30, note, fontsize=8, ha="center", va="top", color="#444444")


def _short(text: str, most: int) -> str:
    """A text cut in the middle to at most so many characters."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"

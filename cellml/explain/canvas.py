"""Pictures and words on a page counted in pixels: what every sheet of maps is drawn on."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from cellml.explain import panels

WIDTH = 900  # pixels: as wide as the MLflow UI shows a figure without shrinking it
HEAD, LEGEND = 62, 58  # pixels that `title` and `legend` take in height
SOFT = "#444444"
_DPI = 100
_BESIDE = 164  # pixels beside the legend's ramp, for its words


def blank(height: int, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    """White pixels, (height, width, 3) uint8."""
    return np.full((height, width, 3), 255, dtype=np.uint8)


def place(pixels: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8], left: int, top: int, side: int) -> None:
    """Put a picture (H, W, 3) into a square of the page, in place, its proportions kept."""
    pixels[top : top + side, left : left + side] = panels.tile(picture, side)


def page(pixels: npt.NDArray[np.uint8]) -> tuple[Figure, Axes]:
    """A figure that shows pixels (H, W, 3) one to one; data coordinates are pixels from the top left."""
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    return figure, axes


def write(axes: Axes, x: float, y: float, text: str, width: float | None = None, **style: Any) -> Text:
    """One line of text as it stands: a dollar sign in a name starts no formula.

    Args:
        axes: from `page`.
        x: pixels from the left.
        y: pixels from the top, of the text's top edge unless `va` is given.
        text: line breaks and tabs become spaces.
        width: most pixels it may take; longer text is cut in the middle.
        **style: of matplotlib's Text.
    """
    shown = " ".join(text.split()) if width is None else fitted(axes, text, width, **style)
    return axes.text(x, y, shown, parse_math=False, **{"va": "top", **style})


def fitted(axes: Axes, text: str, width: float, **style: Any) -> str:
    """A text as one line, cut in the middle until it takes at most `width` pixels in that style."""
    line = shown = " ".join(text.split())
    while len(shown) > 1 and (wide := extent(axes, shown, **style)) > width:
        shown = _cut(line, max(1, min(len(shown) - 1, int(len(shown) * width / wide))))
    return shown


def extent(axes: Axes, text: str, **style: Any) -> float:
    """Pixels that a text takes from left to right in that style."""
    probe = axes.text(0, 0, text, parse_math=False, **style)
    wide = probe.get_window_extent().width
    probe.remove()
    return wide


def title(axes: Axes, text: str, beneath: str) -> None:
    """The two lines above a sheet."""
    write(axes, 14, 14, text, WIDTH - 28, fontsize=13, fontweight="bold")
    write(axes, 14, 38, beneath, WIDTH - 28, fontsize=9, color=SOFT)


def legend(axes: Axes, top: float, explained: str, note: str) -> None:
    """The ramp from red (against) to green (for), with a line beneath; `top` is where it begins."""
    ramp(axes, top, f"against {explained}", f"for {explained}", note)


def ramp(axes: Axes, top: float, low: str, high: str, note: str) -> None:
    """The ramp from red to green with words for its ends, and a line beneath; `top` is where it begins."""
    left, right = _BESIDE, WIDTH - _BESIDE
    colours = panels.COLORS(np.linspace(0, 1, right - left))[None, :, :3]
    axes.imshow(colours, extent=(left, right, top + 20, top + 8), interpolation="none", aspect="auto")
    words: dict[str, Any] = {"width": _BESIDE - 16, "fontsize": 9, "va": "center"}
    write(axes, left - 8, top + 14, low, ha="right", color=panels.AGAINST, **words)
    write(axes, right + 8, top + 14, high, ha="left", color=panels.FOR, **words)
    write(axes, WIDTH / 2, top + 30, note, WIDTH - 28, fontsize=8, ha="center", color=SOFT)


def _cut(text: str, most: int) -> str:
    """A text cut in the middle to at most so many characters."""
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"

"""One look for every figure: readable at the 700 pixels that the MLflow UI gives it, and by colour-blind eyes."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

P = ParamSpec("P")

WIDTH = 6.4  # inches: 704 pixels
DPI = 110
INK, MUTED, GRID = "#222222", "#6b6b6b", "#e3e3e3"
SEQUENTIAL = "Blues"
# Okabe and Ito 2008, "Color Universal Design"; without its yellow, which is too pale for lines on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")
# all of theirs but black, those first that stand out from black and from the red of errors
STAGES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00")
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
_RC: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorator: draw with these settings; the user's own ones come back after it."""

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(_RC):
            return draw(*args, **kwargs)

    return inner


def figure(width: float = WIDTH, height: float = 4.8) -> Figure:
    """An empty figure of the given size in inches, apart from pyplot, so that nothing has to be closed."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def grid(axes: Axes) -> None:
    """Faint lines behind the data."""
    axes.grid(color=GRID, linewidth=0.8)


def line(k: int) -> dict[str, Any]:
    """Colour and dashes of the k-th of many lines; 21 differ."""
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k // len(COLOURS) % len(DASHES)]}


def stages(count: int) -> list[str]:
    """Colours of areas, one a class in order; those after the seventh are paler, after the fourteenth paler yet.

    On white and on dark pictures alike, so that a stage looks the same in figures and in movies.
    """
    made = []
    for k in range(count):
        white = 1 - 0.5 ** (k // len(STAGES))
        rgb = np.array(to_rgb(STAGES[k % len(STAGES)]))
        made.append(to_hex(tuple((rgb + (1 - rgb) * white).tolist())))
    return made


def names(texts: Iterable[object], limit: int = 24) -> list[str]:
    """Names as a figure can show them: long ones lose a part that leaves them different, and `$` starts no formula."""
    whole = [str(text) for text in texts]
    for head in (2 / 3, 1 / 3, 0.9, 0.1):
        short = [_cut(text, limit, head) for text in whole]
        if len(set(short)) == len(set(whole)):
            break
    else:
        short = [f"{k + 1}: {_cut(text, limit - 4, 2 / 3)}" for k, text in enumerate(whole)]
    return [text.replace("$", r"\$") for text in short]


def note(text: str, height: float = 1.6) -> Figure:
    """A figure that only says something, where there is nothing to draw."""
    made = figure(height=height)
    made.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, fontsize=11)
    return made


def _cut(text: str, limit: int, head: float) -> str:
    if len(text) <= limit:
        return text
    front = round((limit - 1) * head)
    return text[:front] + "…" + text[len(text) - (limit - 1 - front) :]

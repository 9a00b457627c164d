"""Methods side by side: the same images under the maps of several methods."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cellml.explain import canvas, panels
from cellml.explain.base import Attribution

_MOST, _LARGEST, _GAP = 8, 150, 6  # methods beside one another; further ones start a new block of rows
_HEADS, _CAPTION, _LINE = 48, 20, 16
_STOOD_IN = "#8a5300"


def sheet(
    images: Sequence[npt.NDArray[np.uint8]],
    attributions: Mapping[str, Attribution],
    captions: Sequence[str],
    *,
    title: str,
    explained: str = "the class",
    most: int = 8,
) -> Figure:
    """Rows are images, columns are methods; more than eight methods take several blocks of rows.

    Args:
        images: N (H, W, 3) uint8.
        attributions: by the method asked for, maps of the N images; each map is coloured by its own largest value.
        captions: (N,) short texts beneath the images.
        title: model, split.
        explained: name of the class that the maps explain.
        most: how many images are shown, the first ones.

    Returns:
        A figure 900 pixels wide, which says where another method stood in, and why.

    Raises:
        ValueError: no images, no methods, or lengths that differ.
    """
    n, methods = min(len(images), most), list(attributions)
    lengths = {len(images), len(captions), *map(len, attributions.values())}
    if not n or not methods or len(lengths) > 1:
        raise ValueError(f"expected maps and captions of {len(images)} images by at least one method")
    count = -(-len(methods) // _MOST)
    wide = -(-len(methods) // count)
    side = min(_LARGEST, (canvas.WIDTH - 28) // (wide + 1) - _GAP)
    block = _HEADS + n * (side + _CAPTION)
    fallbacks = {name: one.fallback for name, one in attributions.items() if one.fallback}
    bottom = canvas.HEAD + count * block
    foot = bottom + _LINE * len(fallbacks)
    pixels = canvas.blank(foot + canvas.LEGEND)
    lefts = [14 + column * (side + _GAP) for column in range(wide + 1)]
    tops = [[canvas.HEAD + b * block + _HEADS + row * (side + _CAPTION) for row in range(n)] for b in range(count)]
    blocks = [methods[b * wide : (b + 1) * wide] for b in range(count)]
    for names, rows in zip(blocks, tops, strict=True):
        for k, top in enumerate(rows):
            canvas.place(pixels, images[k], lefts[0], top, side)
            for name, left in zip(names, lefts[1:], strict=False):
                canvas.place(pixels, panels.overlay(images[k], attributions[name].maps[k]), left, top, side)
    figure, axes = canvas.page(pixels)
    canvas.title(axes, f"Methods side by side: {explained}", title)
    for names, rows in zip(blocks, tops, strict=True):
        for name, left in zip(names, lefts[1:], strict=False):
            _head(axes, left, rows[0] - _HEADS, side, name, attributions[name])
        for caption, top in zip(captions, rows, strict=False):
            canvas.write(axes, lefts[0], top + side + 3, caption, canvas.WIDTH - 28, fontsize=7.6, color=canvas.SOFT)
    for line, (name, reason) in enumerate(fallbacks.items()):
        said = f"{reason}; shown: {attributions[name].method}"
        canvas.write(axes, 14, bottom + 4 + line * _LINE, said, canvas.WIDTH - 28, fontsize=8, color=_STOOD_IN)
    canvas.legend(axes, foot, explained, "Each map is coloured by its own largest value.")
    return figure


def _head(axes: Axes, left: int, top: int, side: int, name: str, attribution: Attribution) -> None:
    spoken = name.replace("_", " ")
    size = 8.4 if side > 110 else 7.2
    whole = canvas.fitted(axes, spoken, side - 4, fontsize=size, fontweight="bold") == spoken
    lines = [(part, "black", "bold") for part in ([spoken] if whole else spoken.split(" ", 1))]
    if attribution.fallback:
        lines.append((f"{attribution.method} instead", _STOOD_IN, "normal"))
    for k, (line, color, weight) in enumerate(lines):
        down = top + _HEADS - 2 - 13 * (len(lines) - k)
        canvas.write(axes, left, down, line, side - 2, fontsize=size, color=color, fontweight=weight)

"""Contact sheets: the images of one class beside what spoke for and against it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cellml.explain import canvas, panels, selection

RIGHT, WRONG, UNKNOWN = "#1a7f37", "#c1121f", "#6e7781"
HEADINGS = {
    selection.TRUE_POSITIVE: ("True positives", "found, with the most confidence", RIGHT),
    selection.BORDERLINE: ("Borderline", "found, with the least confidence", "#8a5300"),
    selection.FALSE_NEGATIVE: ("False negatives", "missed: taken for another class", WRONG),
    selection.FALSE_POSITIVE: ("False positives", "another class's, taken for this one", "#7b2d8b"),
    selection.UNKNOWN: ("Taken for this class", "true class unknown", UNKNOWN),
}
_COLUMNS = 4
_SIDE = 104
_PAIR = (canvas.WIDTH - 20) // _COLUMNS
_ROW = _SIDE + 58
_SECTION = 30


def contact_sheet(
    images: Sequence[npt.NDArray[np.uint8]],
    maps: npt.NDArray[np.float32],
    *,
    explained: str,
    true: Sequence[str],
    predicted: Sequence[str],
    probability: npt.ArrayLike,
    ids: Sequence[str],
    groups: Sequence[str] = (),
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
        groups: (N,) of selection.GROUPS, each to stand under a heading of its own; none for no headings.
        title: what else to say above: method, model, split.
        most: how many are shown: the first ones, of each group about as many.

    Returns:
        A figure 900 pixels wide.

    Raises:
        ValueError: no images, lengths that differ, or an unknown group.
    """
    n = len(images)
    chance = np.asarray(probability, dtype=np.float64)
    if not n or any(len(v) != n for v in (maps, true, predicted, chance, ids)) or (groups and len(groups) != n):
        raise ValueError(f"expected as many maps, names, probabilities, ids and groups as images, got {n} images")
    sections = _sections(groups, n, most)
    corners, headings, bottom = _layout(sections)
    pixels = canvas.blank(bottom + canvas.LEGEND)
    for k, (left, top) in corners.items():
        canvas.place(pixels, images[k], left + 4, top + 4, _SIDE)
        canvas.place(pixels, panels.overlay(images[k], maps[k]), left + 6 + _SIDE, top + 4, _SIDE)
    figure, axes = canvas.page(pixels)
    judged = [k for k in corners if true[k]]
    hits = sum(true[k] == predicted[k] for k in judged)
    count = f"{hits} of {len(judged)} shown are right" if judged else "true class unknown"
    canvas.title(axes, f"What spoke for and against: {explained}", " · ".join(filter(None, [title, count])))
    for top, (group, members) in headings.items():
        _heading(axes, top, group, len(members))
    for k, (left, top) in corners.items():
        _verdict(axes, (left, top), true[k], predicted[k])
        name = canvas.fitted(axes, explained, 140, fontsize=7.6)
        chances = f"P({name}) = {chance[k]:.2f}"
        canvas.write(axes, left + 3, top + _SIDE + 24, chances, fontsize=7.6, color=canvas.SOFT)
        canvas.write(axes, left + 3, top + _SIDE + 38, str(ids[k]), 2 * _SIDE, fontsize=6.8, color=canvas.SOFT)
    note = "Each map is coloured by its own largest value. Frame: green right, red wrong."
    canvas.legend(axes, bottom, explained, note)
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
    pixels = canvas.blank(side + foot, n * (side + 4) - 4)
    lefts = [k * (side + 4) for k in range(n)]
    for image, heat, left in zip(images, maps, lefts, strict=False):
        canvas.place(pixels, panels.overlay(image, heat), left, 0, side)
    figure, axes = canvas.page(pixels)
    for caption, left in zip(captions, lefts, strict=False):
        canvas.write(axes, left + side / 2, side + 3, caption, side, fontsize=8, ha="center")
    return figure


def _sections(groups: Sequence[str], n: int, most: int) -> list[tuple[str, list[int]]]:
    """Each group's name ("" without groups) and the positions shown under it; groups without images are left out."""
    if not groups:
        return [("", list(range(min(n, most))))]
    if unknown := set(groups) - set(selection.GROUPS):
        raise ValueError(f"expected groups of {selection.GROUPS}, got {sorted(unknown)}")
    members = [[k for k in range(n) if groups[k] == name] for name in selection.GROUPS]
    taken = selection.shares([len(rows) for rows in members], most)
    sections = [(name, rows[:k]) for name, rows, k in zip(selection.GROUPS, members, taken, strict=True)]
    return [(name, rows) for name, rows in sections if rows]


def _layout(
    sections: list[tuple[str, list[int]]],
) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[str, list[int]]], int]:
    """Corners (left, top) of the images, tops of the headings with their sections, and where the legend begins."""
    corners: dict[int, tuple[int, int]] = {}
    headings: dict[int, tuple[str, list[int]]] = {}
    top = canvas.HEAD
    for group, rows in sections:
        if group:
            headings[top] = (group, rows)
            top += _SECTION
        corners |= {k: (10 + (j % _COLUMNS) * _PAIR, top + (j // _COLUMNS) * _ROW) for j, k in enumerate(rows)}
        top += -(-len(rows) // _COLUMNS) * _ROW
    return corners, headings, top


def _heading(axes: Axes, top: int, group: str, count: int) -> None:
    name, detail, color = HEADINGS[group]
    axes.add_patch(Rectangle((12, top + 3), 4, 18, color=color, linewidth=0))
    axes.plot((12, canvas.WIDTH - 12), (top + 22, top + 22), color=color, linewidth=0.8)
    style: dict[str, Any] = {"fontsize": 10, "fontweight": "bold"}
    canvas.write(axes, 24, top + 12, name, color=color, va="center", **style)
    right = 34 + canvas.extent(axes, name, **style)
    canvas.write(axes, right, top + 12, f"{detail} ({count} shown)", fontsize=8, color=canvas.SOFT, va="center")


def _verdict(axes: Axes, corner: tuple[int, int], true: str, predicted: str) -> None:
    left, top = corner
    color = UNKNOWN if not true else RIGHT if true == predicted else WRONG
    axes.add_patch(Rectangle((left + 2, top + 2), 2 * _SIDE + 6, _SIDE + 4, fill=False, edgecolor=color, linewidth=2.2))
    style: dict[str, Any] = {"fontsize": 7.6, "fontweight": "bold"}
    if not true:
        verdict = f"predicted {predicted}"
    elif true == predicted:
        verdict = f"right: {true}"
    else:
        room = 2 * _SIDE - canvas.extent(axes, "wrong: , said ", **style)
        said = canvas.fitted(axes, predicted, max(room / 2, room - canvas.extent(axes, true, **style)), **style)
        is_ = canvas.fitted(axes, true, room - canvas.extent(axes, said, **style), **style)
        verdict = f"wrong: {is_}, said {said}"
    canvas.write(axes, left + 3, top + _SIDE + 10, verdict, 2 * _SIDE + 4, color=color, **style)

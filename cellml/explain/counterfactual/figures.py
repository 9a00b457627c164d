"""Counterfactuals as pictures: sheets of what changes, and the walk across the decision boundary."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from cellml.evaluation import style
from cellml.explain import canvas, panels
from cellml.explain.counterfactual.base import Array, Counterfactual
from cellml.models.spec import Spec

_GAP, _HEADS, _CAPTION, _LARGEST = 8, 22, 40, 180  # pixels


def sheet(
    found: Counterfactual,
    probabilities: Array,
    spec: Spec,
    captions: Sequence[str],
    *,
    title: str,
    names: Sequence[str] = (),
    most: int = 8,
) -> Figure:
    """A row an image: original, counterfactual, and what was added to and taken from each channel.

    Args:
        found: N images that reached the boundary, and others, which are left out.
        probabilities: (N, 2, K) of the original and the counterfactual.
        spec: of the classifier, whose raw-value range is the range of brightness and the full colour of differences.
        captions: (N,) short texts.
        title: model, method, classes.
        names: (C,) channel names; default "channel 0", ...
        most: how many images are shown, the first ones.

    Returns:
        A figure 900 pixels wide.
    """
    rows = np.flatnonzero(found.reached)[:most]
    if not len(rows):
        return style.note("No image reached the decision boundary")
    channels = found.original.shape[1]
    names = list(names) or [f"channel {c}" for c in range(channels)]
    side = min(_LARGEST, (canvas.WIDTH - 28) // (channels + 2) - _GAP)
    lefts = [14 + column * (side + _GAP) for column in range(channels + 2)]
    tops = [canvas.HEAD + _HEADS + n * (side + _CAPTION) for n in range(len(rows))]
    bottom = canvas.HEAD + _HEADS + len(rows) * (side + _CAPTION)
    pixels = canvas.blank(bottom + canvas.LEGEND)
    span = np.asarray(spec.high, dtype=np.float64) - np.asarray(spec.low, dtype=np.float64)
    scale = _scale(found, rows, span)
    for row, top in zip(rows, tops, strict=True):
        pair = seen(np.stack([found.original[row], found.changed[row]]), spec)
        for picture, left in zip(pair, lefts, strict=False):
            canvas.place(pixels, picture, left, top, side)
        for c, left in enumerate(lefts[2:]):
            heat = ((found.changed[row, c] - found.original[row, c]) / span[c]).astype(np.float32)
            colours = panels.COLORS(0.5 + 0.5 * np.clip(heat / scale, -1, 1))[..., :3]
            canvas.place(pixels, np.rint(255 * colours).astype(np.uint8), left, top, side)
    figure, axes = canvas.page(pixels)
    source, target = (spec.classes[int(one[rows[0]])] for one in (found.source, found.target))
    canvas.title(axes, f"What would make {source} look like {target}", title)
    for name, left in zip(["original", "counterfactual", *(f"change, {name}" for name in names)], lefts, strict=True):
        canvas.write(axes, left, canvas.HEAD + 2, name, side, fontsize=8.4, fontweight="bold")
    for row, top in zip(rows, tops, strict=True):
        before, after = (probabilities[row, k, found.target[row]] for k in (0, 1))
        canvas.write(axes, lefts[0], top + side + 4, f"p({target}) {before:.3f}", side, fontsize=7.6)
        canvas.write(axes, lefts[1], top + side + 4, f"p({target}) {after:.3f}", side, fontsize=7.6)
        canvas.write(axes, lefts[0], top + side + 18, captions[row], canvas.WIDTH - 28, fontsize=7.6, color=canvas.SOFT)
        for c, left in enumerate(lefts[2:]):
            old, new = found.original[row, c].mean(), found.changed[row, c].mean()
            canvas.write(axes, left, top + side + 4, f"mean {(new - old) / max(old, 1e-12):+.0%}", side, fontsize=7.6)
    canvas.ramp(axes, bottom, "darker", "brighter", f"Full colour: a change by {scale:.0%} of the channel's range.")
    return figure


@style.styled
def walk(images: npt.NDArray[np.float32], probabilities: Array, spec: Spec, title: str) -> Figure:
    """The way of one image across the decision boundary: images above, the classes' probabilities beneath.

    Args:
        images: (A, C, S, S) raw pixel values at equal steps.
        probabilities: (A, K).
        spec: of the classifier.
        title: above it.
    """
    count = len(images)
    figure = style.figure(height=3.4)
    parts = figure.add_gridspec(2, count, height_ratios=[1, 2.2])
    for k, picture in enumerate(seen(images, spec)):
        ax = figure.add_subplot(parts[0, k])
        ax.imshow(picture, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
    ax = figure.add_subplot(parts[1, :])
    steps = np.linspace(0, 1, count)
    for k, name in enumerate(style.names(spec.classes)):
        ax.plot(steps, probabilities[:, k], marker="o", markersize=3, label=name, **style.line(k))
    ax.set(xlabel="share of the way from the original to the counterfactual", ylabel="probability", ylim=(-0.03, 1.03))
    ax.set_xlim(-0.5 / max(count - 1, 1), 1 + 0.5 / max(count - 1, 1))
    style.grid(ax)
    figure.legend(loc="outside lower center", frameon=False, ncols=min(len(spec.classes), 5))
    figure.suptitle(title)
    return figure


def frames(
    images: npt.NDArray[np.float32], probabilities: Array, spec: Spec, side: int = 256
) -> Iterator[npt.NDArray[np.uint8]]:
    """The same way there and back as frames of a movie, (side + 12 K, side, 3) uint8, a bar a class beneath."""
    shown = seen(images, spec)
    order = [*range(len(shown)), *range(len(shown) - 2, 0, -1)]
    colours = [np.rint(255 * np.array(to_rgb(colour))) for colour in style.stages(len(spec.classes))]
    for k in order:
        page = canvas.blank(side + 12 * len(colours), side)
        canvas.place(page, shown[k], 0, 0, side)
        for n, (colour, p) in enumerate(zip(colours, probabilities[k], strict=True)):
            page[side + 12 * n + 2 : side + 12 * n + 10, : round(float(p) * side)] = colour
        yield page


def seen(images: npt.NDArray[np.float32], spec: Spec) -> list[npt.NDArray[np.uint8]]:
    """Pictures of images (N, C, S, S), whose values may have left what the pixels' type can hold."""
    return panels.shown(torch.from_numpy(images.clip(0, np.iinfo(spec.dtype).max)), spec)


def _scale(found: Counterfactual, rows: npt.NDArray[np.int64], span: Array) -> float:
    """Of the range, the change in full colour: one for all images and channels of a sheet."""
    moved = (found.changed[rows] - found.original[rows]) / span[:, None, None]
    return panels.scale_of(moved.astype(np.float32))

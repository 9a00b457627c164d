"""Figures of a benchmark: balanced accuracy with intervals, confusion matrices, ROC curves of all models."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from cellml.compare import formats
from cellml.evaluation import confusion as matrices
from cellml.evaluation import ranking, style
from cellml.evaluation.predictions import Predictions

LISTED = 20  # models whose rank probabilities are shown
HIGHLIGHTED = 6  # curves with a colour of their own; further ones are grey
_BEST, _MODEL, _BASELINE = style.COLOURS[0], "#8db8d9", "#c4c8cd"


@style.styled
def bars(table: pd.DataFrame) -> Figure:
    """Balanced accuracy of every row, best on top, with its 95 % interval; a dashed line at the baseline.

    Args:
        table: what `table.build` made.
    """
    rows = table.to_dict("records")
    labels = style.names(formats.titles(rows), 68)
    names = [textwrap.fill(name, 34, break_on_hyphens=False) for name in labels]
    lines = sum(name.count("\n") + 1 for name in names)
    figure = style.figure(7.0, 1.0 + 0.2 * lines + 0.16 * len(rows))
    axes = figure.subplots()
    y = np.arange(len(rows))[::-1]
    values, low, high = (table[f"balanced_accuracy{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
    ranks = [formats.rank(row) for row in rows]
    colors = [_BEST if rank == "1" else _MODEL if rank else _BASELINE for rank in ranks]
    axes.barh(y, values, height=0.62, color=colors, zorder=2)
    spread = np.nan_to_num(np.maximum(0, np.vstack([values - low, high - values])))
    axes.errorbar(values, y, xerr=spread, fmt="none", ecolor=style.INK, elinewidth=1.1, capsize=2.5, zorder=3)
    for position, value, top in zip(y, values, np.fmax(values, high), strict=True):
        axes.annotate(f"{value:.3f}", (top, position), (5, 0), textcoords="offset points", va="center", fontsize=9)
    for value in values[[not rank for rank in ranks]]:
        axes.axvline(value, color=style.MUTED, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    axes.set_yticks(y, names, fontsize=9)
    axes.set_xlim(0, 1.14)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel("Balanced accuracy, 95 % interval")
    style.grid(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure


@style.styled
def rank_probabilities(table: pd.DataFrame) -> Figure:
    """How probable each place is for each model, best expected rank on top; the first `LISTED` models and places.

    Args:
        table: what `table.build` made of at least two models.
    """
    probabilities = np.array(table.attrs["ranks"])
    if not np.isfinite(probabilities).all():
        return style.note("No rank probabilities: fewer than two groups of test images")
    order = np.argsort(table["expected_rank"].to_numpy(dtype=float)[: len(probabilities)], kind="stable")[:LISTED]
    shown = probabilities[order][:, :LISTED]
    titles = formats.titles(table.to_dict("records"))
    names = style.names([titles[m] for m in order], 48)
    figure = style.figure(3.6 + 0.42 * len(shown), 1.2 + 0.34 * len(shown))
    axes = figure.subplots()
    axes.imshow(shown, cmap=style.SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    for i, j in np.argwhere(shown >= 0.005):
        ink = "white" if shown[i, j] > 0.55 else style.INK
        axes.text(j, i, f"{shown[i, j]:.0%}", ha="center", va="center", color=ink, fontsize=7.5)
    axes.set_xticks(range(shown.shape[1]), [str(place + 1) for place in range(shown.shape[1])])
    axes.set_yticks(range(len(shown)), [textwrap.fill(name, 34, break_on_hyphens=False) for name in names], fontsize=9)
    axes.set_xlabel("Rank")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@style.styled
def confusion(predictions: Predictions, title: str) -> Figure:
    """Confusion matrix of one model: counts, shaded and annotated by the share of the true class.

    Args:
        predictions: N images; those of unknown class are left out.
        title: the model's name, folded where it is long.
    """
    k = len(predictions.classes)
    predictions = predictions.labelled
    counts = matrices.matrix(predictions.targets, predictions.predicted, k).astype(int)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = style.names(predictions.classes, 18)
    flat = k == 2 and max(map(len, names)) <= 12
    side = 1.3 + 0.56 * max(k, 3)
    heading = textwrap.fill(style.names([title], 90)[0], 34 if k < 4 else 50, break_on_hyphens=False)
    figure = style.figure(side + 0.7, side + 0.2 * heading.count("\n") + (0 if flat else 0.4))
    axes = figure.subplots()
    axes.imshow(shares, cmap=style.SEQUENTIAL, vmin=0, vmax=1)
    for i in range(k):
        for j in range(k):
            text = f"{counts[i, j]}\n{shares[i, j]:.0%}" if counts[i].any() else "–"
            ink = "white" if shares[i, j] > 0.55 else style.INK
            axes.text(j, i, text, ha="center", va="center", color=ink, fontsize=8.5, linespacing=1.25)
    turned = {"rotation": 0} if flat else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(k), names, **turned)
    axes.set_yticks(range(k), names)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True")
    figure.suptitle(heading, fontsize=9, fontweight="bold")
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    return figure


@style.styled
def roc(predictions: Sequence[Predictions], names: Sequence[str]) -> Figure:
    """ROC curves of all models over one another: of the rarer one of two classes, else a panel a class.

    Args:
        predictions: one a model, best first, on the same images.
        names: the models' names; beyond the first `HIGHLIGHTED` the curves are grey and not named.
    """
    predictions = [one.labelled for one in predictions]
    first = predictions[0]
    support = np.bincount(first.targets, minlength=len(first.classes))
    wanted = [k for k in range(len(support)) if 0 < support[k] < len(first)]
    if not wanted:
        return style.note("No ROC curve: all test images are of one class")
    if len(first.classes) == 2:
        wanted = [min(wanted, key=lambda k: support[k])]
    columns = min(3, len(wanted))
    panels = -(-len(wanted) // columns)
    shown = style.names(names, 60)[:HIGHLIGHTED]
    if len(names) > HIGHLIGHTED:
        shown.append(f"{len(names) - HIGHLIGHTED} further models")
    side = 4.6 if columns == 1 else 3.1
    figure = style.figure(max(5.4, side * columns), side * panels + 0.21 * len(shown))
    grid = figure.subplots(panels, columns, squeeze=False).ravel()
    classes = style.names(first.classes, 30)
    for axes, k in zip(grid, wanted, strict=False):
        _curves(axes, predictions, k)
        axes.set_title(classes[k])
    for axes in grid[len(wanted) :]:
        axes.set_visible(False)
    handles = grid[0].get_lines()[:0:-1]
    figure.legend(handles[: len(shown)], shown, loc="outside lower center", fontsize=9)
    return figure


def _curves(axes: Axes, predictions: Sequence[Predictions], k: int) -> None:
    axes.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=":")
    for place in reversed(range(len(predictions))):
        one = predictions[place]
        _, true, false = ranking.curve(one.probabilities[:, k], one.targets == k)
        color, width = (style.COLOURS[place], 1.8) if place < HIGHLIGHTED else (_BASELINE, 1.0)
        axes.plot(false / false[-1], true / true[-1], color=color, linewidth=width)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.xaxis.set_major_locator(MultipleLocator(0.5))
    axes.yaxis.set_major_locator(MultipleLocator(0.5))
    axes.set_xlabel("False positive rate")
    axes.set_ylabel("True positive rate")
    style.grid(axes)

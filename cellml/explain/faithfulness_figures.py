"""Methods beside each other: which maps can be trusted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cellml.evaluation import intervals, style
from cellml.explain import baselines
from cellml.explain.faithfulness import HIGHER_IS_BETTER, NAMES, Faithfulness

Array = npt.NDArray[np.float64]

_WIDTH = 900 / style.DPI
_METHOD, _BASELINE = style.COLOURS[0], "#8a9099"
_TITLES = {
    "deletion": "Deletion",
    "insertion": "Insertion",
    "pointing_game": "Pointing game",
    "relevance_mass": "Relevance mass",
    "background": "Background",
    "sensitivity": "Sensitivity",
}


@style.styled
def compare_methods(rows: Mapping[str, Faithfulness]) -> Figure:
    """Mean figures of every method with 95 % bootstrap intervals over the images; baselines in grey, at the bottom.

    Args:
        rows: name of a method, or of a baseline (`baselines.NAMES`) -> its figures. A figure that no row has gets no
            panel.

    Returns:
        A figure 900 pixels wide.
    """
    order = sorted(rows, key=lambda name: name in baselines.NAMES)
    values = {
        title: [getattr(rows[name], field)[np.isfinite(getattr(rows[name], field))] for name in order]
        for field, title in NAMES.items()
    }
    shown = {metric: columns for metric, columns in values.items() if any(map(len, columns))}
    if not shown:
        return style.note("No figures of faithfulness: nothing was measured")
    figure = style.figure(_WIDTH, 1.25 + 0.22 * len(order))
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    colors = [_BASELINE if name in baselines.NAMES else _METHOD for name in order]
    for axes, (metric, columns) in zip(panels, shown.items(), strict=True):
        _panel(axes, metric, columns, colors)
    labels = style.names([name.replace("_", " ") for name in order], 22)
    panels[0].set_yticks(range(len(order)), labels, fontsize=9)
    for label, color in zip(panels[0].get_yticklabels(), colors, strict=True):
        label.set_color(style.INK if color == _METHOD else _BASELINE)
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    note = "Mean over the images, with 95 % bootstrap interval. Grey: maps that look at no model."
    figure.supxlabel(note, fontsize=8.5, color=style.MUTED)
    return figure


def mean_interval(values: Array, resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of (N,) values, and the low and high end of its 95 % percentile bootstrap interval (NaN below two)."""
    if len(values) < 2:
        return (float(values[0]) if len(values) else float("nan"), float("nan"), float("nan"))
    drawn = [values @ times for times in intervals.multiplicities(len(values), resamples, seed)]
    found = intervals.interval(np.concatenate(drawn) / len(values))
    return float(values.mean()), found.low, found.high


def _panel(axes: Axes, metric: str, columns: list[Array], colors: list[str]) -> None:
    for place, (values, color) in enumerate(zip(columns, colors, strict=True)):
        mean, low, high = mean_interval(values)
        if not np.isfinite(mean):
            axes.annotate("–", (1, place), xycoords=axes.get_yaxis_transform(), ha="right", va="center", color=color)
            continue
        axes.plot([low, high], [place, place], color=color, linewidth=1.6, solid_capstyle="butt")
        axes.plot(mean, place, "o", color=color, markersize=4.5)
        at: Any = {"xycoords": axes.get_yaxis_transform(), "ha": "right", "va": "center", "fontsize": 8, "color": color}
        axes.annotate(f"{mean:.2f}", (1, place), **at)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right + 0.42 * (right - left))  # room for the numbers
    counts = sorted({len(values) for values in columns if len(values)})
    better = "higher is better" if metric in HIGHER_IS_BETTER else "lower is better"
    axes.set_title(_TITLES[metric], fontsize=9.5, pad=28)
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    axes.annotate(
        f"{better}\n{number} images",
        (0.5, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        color=style.MUTED,
    )
    ticks = [tick for tick in MaxNLocator(3).tick_values(left, right) if left <= tick <= right]
    axes.set_xticks(sorted({ticks[0], ticks[-1]}) if ticks else [])
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    style.grid(axes)

"""Figure of average ranks over data sets with the critical difference (Demsar 2006, figure 1)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cellml.compare import formats
from cellml.evaluation import friedman, style

LISTED = 20  # models shown, best average rank first


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Average ranks, best on the left; a bar joins models that Nemenyi's test at 5 % does not tell apart.

    Args:
        table: what `table.build` made, of two models and two test sets at least.
    """
    sets = table.attrs["sets"]
    order = np.argsort(sets.average, kind="stable")[:LISTED]
    average, models = sets.average[order], len(sets.average)
    titles = formats.titles(table.to_dict("records"))
    names = style.names([titles[m] for m in order], 40)
    bars = friedman.cliques(average, sets.difference)
    half = -(-len(order) // 2)
    top, first = 1.0, -0.5 - 0.3 * len(bars)
    bottom = first - 0.5 * (half - 1)
    figure = style.figure(9.0, 0.36 * (top - bottom + 1.2))
    axes = figure.subplots()
    axes.axis("off")
    margin = 0.06 * max(models - 1, 1)
    axes.plot([1, models], [0, 0], color=style.INK, linewidth=1.2)
    ticks = np.unique(np.linspace(1, models, min(models, 10)).round().astype(int))
    for tick in ticks:
        axes.plot([tick, tick], [0, 0.18], color=style.INK, linewidth=1)
        axes.text(tick, 0.28, str(tick), ha="center", va="bottom", fontsize=9)
    width = min(sets.difference, models - 1)
    axes.plot([1, 1 + width], [top + 0.1] * 2, color=style.INK, linewidth=1.6, marker="|", markersize=8)
    beyond = " (wider than the axis)" if sets.difference > models - 1 else ""
    text = f"critical difference {sets.difference:.2f}{beyond}, {len(sets.sets)} data sets"
    axes.text(1, top + 0.3, text, ha="left", va="bottom", fontsize=9)
    for place, (start, end) in enumerate(bars):
        ends = [average[start] - margin / 3, average[end] + margin / 3]
        axes.plot(ends, [-0.3 - 0.3 * place] * 2, color=style.COLOURS[0], linewidth=3.5, solid_capstyle="butt")
    for place, (rank, name) in enumerate(zip(average, names, strict=True)):
        left = place < half
        height = first - 0.5 * (place if left else len(order) - 1 - place)
        side = 1 - margin if left else models + margin
        axes.plot([rank, rank, side], [0, height, height], color=style.MUTED, linewidth=0.8)
        label = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        axes.text(side, height, f" {label} ", ha="right" if left else "left", va="center", fontsize=8.5)
    axes.set(xlim=(1 - margin, models + margin), ylim=(bottom - 0.3, top + 0.9))
    return figure

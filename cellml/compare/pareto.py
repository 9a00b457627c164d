"""Figure of balanced accuracy against latency: which models nothing else beats in both."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from cellml.compare import formats
from cellml.evaluation import style

LINE = 0.2  # inches between the middles of two labels
_BEATEN = "#b9c1c9"


def front(cost: npt.ArrayLike, score: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which of (N,) entries no other one beats: none is as good in both and better in one; NaN never stands there.

    Args:
        cost: (N,) lower is better.
        score: (N,) higher is better.
    """
    c, s = np.asarray(cost, dtype=np.float64), np.asarray(score, dtype=np.float64)
    as_good = (c[:, None] <= c) & (s[:, None] >= s)
    better = (c[:, None] < c) | (s[:, None] > s)
    return np.isfinite(c) & np.isfinite(s) & ~(as_good & better).any(axis=0)


def spread(wanted: npt.ArrayLike, gap: float, top: float) -> npt.NDArray[np.float64]:
    """Heights at least `gap` apart, in the order of the (N,) ascending ones wanted, near them and below `top`."""
    heights = np.asarray(wanted, dtype=np.float64).copy()
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    limit = top
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], limit)
        limit = heights[i] - gap
    return heights


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Balanced accuracy with its 95 % interval over milliseconds of one image; models on the front filled and named.

    Args:
        table: what `table.build` made, with a latency at least.
    """
    models = table[table["ms_batch_1"].notna()].reset_index(drop=True)
    cost, score = (models[key].to_numpy(dtype=float) for key in ("ms_batch_1", "balanced_accuracy"))
    kept = np.flatnonzero(front(cost, score))
    kept = kept[np.argsort(score[kept], kind="stable")]
    height = max(4.4, 1.4 + LINE * len(kept))
    figure = style.figure(8.6, height)
    axes = figure.subplots()
    ends = models[["balanced_accuracy_low", "balanced_accuracy_high"]].to_numpy(dtype=float)
    bars = np.nan_to_num(np.maximum(0, np.stack([score - ends[:, 0], ends[:, 1] - score])))
    on_front = np.isin(np.arange(len(models)), kept)
    for chosen, color, marker in ((~on_front, _BEATEN, "o"), (on_front, style.COLOURS[0], "D")):
        if chosen.any():
            axes.errorbar(
                cost[chosen], score[chosen], yerr=bars[:, chosen], fmt=marker, color=color, markersize=6, elinewidth=1
            )
    axes.step(cost[kept], score[kept], where="post", color=style.COLOURS[0], linewidth=1, alpha=0.5)
    if cost.max() > 5 * cost.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    baseline = table["balanced_accuracy"].iloc[-1]
    axes.axhline(baseline, color=style.MUTED, linestyle=(0, (4, 3)), linewidth=1)
    low, high = axes.get_ylim()
    titles = formats.titles(models.to_dict("records"))
    labels = style.names([titles[at] for at in kept], 44)
    places = spread((score[kept] - low) / (high - low), LINE / (height - 1), 1.0)
    for place, name, at in zip(places, labels, kept, strict=True):
        axes.annotate(
            name,
            (cost[at], score[at]),
            (1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": style.MUTED, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 4},
        )
    axes.set_ylim(low, high)
    axes.set_xlabel("Milliseconds of one image")
    axes.set_ylabel("Balanced accuracy, 95 % interval")
    style.grid(axes)
    return figure

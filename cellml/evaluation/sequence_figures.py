"""What stages over time look like: truth beside prediction, and how long stages last."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cellml.evaluation import segments, stages, style
from cellml.evaluation.predictions import Predictions

__all__ = ["FIGURES", "label_matrix", "stage_durations"]

_NAMED = 30  # up to so many sequences have their names beside them
_ROWS = 500  # at most so many are drawn
_UNKNOWN = "#cfcfcf"


@style.styled
def label_matrix(predictions: Predictions) -> Figure:
    """Every sequence as a row of stages over time, truth beside prediction, sorted by when their stages begin.

    Raises:
        UserError: the rows are no frames of sequences.
    """
    rows = segments.places(predictions)
    names = sorted(rows, key=lambda name: _key(predictions.targets[rows[name]]))
    shown = [names[i] for i in np.linspace(0, len(names) - 1, min(_ROWS, len(names))).round().astype(int)]
    longest = max(len(rows[name]) for name in shown)
    colours = [to_rgb(colour) for colour in (*style.stages(len(predictions.classes)), _UNKNOWN)]  # -1 is the last

    known = style.names(predictions.classes, 26)
    columns = 3 if max(map(len, known)) <= 18 else 2
    body = float(np.clip(0.24 * len(shown), 1.2, 7.5))
    figure = style.figure(height=body + 1.1 + 0.22 * -(-(len(known) + 1) // columns))
    axes = figure.subplots(1, 2, sharey=True)
    said = predictions.predicted
    for ax, labels, title in zip(axes, (predictions.targets, said), ("Truth", "Prediction"), strict=True):
        picture = np.ones((len(shown), longest, 3))
        for row, name in zip(picture, shown, strict=True):
            row[: len(rows[name])] = np.array(colours)[labels[rows[name]]]
        nearest = "nearest" if len(shown) <= 2 * _NAMED else "antialiased"
        ax.imshow(picture, aspect="auto", interpolation=nearest, extent=(0, longest, len(shown), 0))
        ax.set(title=title, xlabel="Frame", xlim=(0, longest))
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_visible(False)
        if len(shown) <= _NAMED:
            for line in range(1, len(shown)):
                ax.axhline(line, color="white", linewidth=1.5)
    if len(shown) <= _NAMED:
        axes[0].set_yticks(np.arange(len(shown)) + 0.5, style.names(shown, 18), fontsize=8)
    else:
        part = "" if len(shown) == len(names) else f", {len(shown)} of them"
        axes[0].set_ylabel(f"{len(names):,} sequences{part}")
    entries = [Patch(color=colour, label=name) for colour, name in zip(colours, known, strict=False)]
    if (predictions.targets < 0).any():
        entries.append(Patch(color=_UNKNOWN, label="unknown"))
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=1.2)
    return figure


@style.styled
def stage_durations(predictions: Predictions) -> Figure:
    """How long each stage lasts in truth and by prediction: boxes (quartiles), whiskers (10 to 90 %), every segment.

    Raises:
        UserError: the rows are no frames of sequences.
    """
    table = stages.durations(predictions)
    whole = table[~table["cut"].astype(bool)]
    if whole.empty:
        return style.note("No stage begins and ends within a sequence.")
    count = len(predictions.classes)
    figure = style.figure(height=1.5 + 0.62 * count)
    ax = figure.subplots()
    rng = np.random.default_rng(0)
    entries = []
    for side, of in enumerate(stages.OF):
        colour = style.COLOURS[side]
        entries.append(Patch(color=colour, alpha=0.6, label=of))
        for k, name in enumerate(predictions.classes):
            mine = whole.loc[(whole["stage"] == name) & (whole["of"] == of), "frames"].to_numpy()
            _box(ax, mine, k + (side - 0.5) * 0.4, colour, rng)
    low, high = whole["frames"].min(), whole["frames"].max()
    if high / low > 20:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    labels = []
    for name, short in zip(predictions.classes, style.names(predictions.classes, 22), strict=True):
        counts = [int(((whole["stage"] == name) & (whole["of"] == of)).sum()) for of in stages.OF]
        labels.append(f"{short}\nn = {counts[0]:,} | {counts[1]:,}")
    ax.set_yticks(range(count), labels)
    ax.set(ylim=(count - 0.5, -0.5), xlabel="Frames")
    ax.set_title("How long stages last; segments at the ends of sequences left out")
    ax.tick_params(axis="y", length=0)
    style.grid(ax)
    ax.grid(visible=False, axis="y")
    figure.legend(handles=entries, loc="outside lower center", ncols=2)
    return figure


FIGURES: dict[str, Callable[[Predictions], Figure]] = {
    "label_matrix": label_matrix,
    "stage_durations": stage_durations,
}


def _box(ax: Axes, frames: npt.NDArray, height: float, colour: str, rng: np.random.Generator) -> None:
    if not len(frames):
        return
    low, first, middle, third, high = np.percentile(frames, [10, 25, 50, 75, 90])
    ax.plot([low, high], [height, height], color=colour, linewidth=1.2, zorder=2)
    ax.barh(height, third - first, left=first, height=0.26, color=colour, alpha=0.45, zorder=2)
    ax.plot([middle, middle], [height - 0.13, height + 0.13], color=colour, linewidth=2.2, zorder=3)
    shown = frames if len(frames) <= _ROWS else rng.choice(frames, _ROWS, replace=False)
    ax.plot(
        shown, height + rng.uniform(-0.12, 0.12, len(shown)), ".", color=colour, markersize=2.5, alpha=0.5, zorder=4
    )


def _key(labels: npt.NDArray[np.int64]) -> tuple:
    """Sequences that begin with the same stages side by side, those whose steps come late after the others."""
    known, starts, _ = segments.runs(labels)
    kept = known >= 0
    return (int(known[kept][0]) if kept.any() else -1, *starts[kept][1:].tolist(), len(labels))

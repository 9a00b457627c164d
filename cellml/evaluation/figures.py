"""What predictions look like: figures for the run's page, each about 700 pixels wide.

Every function returns a matplotlib Figure made without pyplot; save it with `savefig`, nothing needs closing. Rows
of unknown target are left out, and a class without rows is named as such.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cellml.evaluation import calibration, ranking, style
from cellml.evaluation import confusion as matrices
from cellml.evaluation.metrics import auroc_by_class, scorable
from cellml.evaluation.predictions import Predictions
from cellml.evaluation.progress import learning_curves
from cellml.evaluation.sheet import mistakes

__all__ = ["FIGURES", "confusion", "learning_curves", "mistakes", "precision_recall", "reliability", "roc"]

_SIDE_BY_SIDE = 6  # up to so many classes two matrices are readable beside each other


@style.styled
def confusion(predictions: Predictions) -> Figure:
    """Confusion matrix as counts and as percentages of each true class.

    Side by side for up to six classes with short names, else one below the other, so that cells keep a readable size.

    Raises:
        UserError: no row has a known target.
    """
    known = scorable(predictions)
    classes = known.classes
    counts = matrices.matrix(known.targets, known.predicted, len(classes))
    support = counts.sum(1)
    shares = 100 * counts / np.where(support > 0, support, np.nan)[:, None]
    names = style.names(classes, 22)
    longest = max(map(len, names))
    beside = len(classes) <= _SIDE_BY_SIDE and longest <= 14
    figure = style.figure(height=3.9 if beside else 2 * (1.9 + 0.34 * len(classes)))
    axes = figure.subplots(1, 2, sharey=True) if beside else figure.subplots(2, 1)
    fits = longest * len(classes) <= (38 if beside else 66)
    slant: dict[str, Any] = {} if fits else {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    rows = [f"{c}\nn = {int(n):,}" if beside else f"{c} ({int(n):,})" for c, n in zip(names, support, strict=True)]
    for ax, shown, title in zip(axes, (counts, shares), ("Images", "% of the true class"), strict=True):
        _heat(ax, shown, shares)
        ax.set(title=title, xlabel="Predicted")
        ax.set_xticks(range(len(classes)), names, **slant)
        ax.set_yticks(range(len(classes)), rows)
    for ax in axes[:1] if beside else axes:
        ax.set_ylabel("True")
    return figure


@style.styled
def roc(predictions: Predictions) -> Figure:
    """ROC curve of each class against the rest with its AUROC; of the rarer class alone where there are two.

    Raises:
        UserError: no row has a known target.
    """
    known = scorable(predictions)
    areas = auroc_by_class(known)
    figure, ax, entries = _square(known)
    names = style.names(known.classes, 26)
    ax.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=":")
    for k in _shown(known):
        _, true, false = ranking.curve(known.probabilities[:, k], known.targets == k)
        drawn = np.isfinite(areas[k])
        x, y = (false / false[-1], true / true[-1]) if drawn else ([], [])
        (handle,) = ax.plot(x, y, **style.line(k))
        value = f"{areas[k]:.3f}" if drawn else "no rows" if true[-1] == 0 else "no others"
        entries.append((handle, f"{value}  {names[k]}"))
    ax.set(xlabel="False positive rate", ylabel="True positive rate (recall)", title="ROC, one class against the rest")
    _legend(figure, entries, "AUROC")
    return figure


@style.styled
def precision_recall(predictions: Predictions) -> Figure:
    """Precision over recall of each class with its average precision; dotted: the share of the class, a guess's score.

    Raises:
        UserError: no row has a known target.
    """
    known = scorable(predictions)
    once = np.ones((len(known), 1))
    figure, ax, entries = _square(known)
    names = style.names(known.classes, 26)
    for k in range(len(known.classes)):
        positive = known.targets == k
        _, true, false = ranking.curve(known.probabilities[:, k], positive)
        area = float(ranking.average_precision(known.probabilities[:, k], positive, once)[0])
        drawn = bool(positive.any())
        recall, precision = true / max(true[-1], 1), true / np.maximum(true + false, 1)
        precision[0] = precision[1]
        look = style.line(k)
        (handle,) = ax.plot(recall, precision, drawstyle="steps-pre", **look)
        if drawn and len(known.classes) <= 3:
            ax.axhline(positive.mean(), color=look["color"], linewidth=1, linestyle=":")
        value = f"{area:.3f}" if drawn else "no rows"
        entries.append((handle, f"{value}  {names[k]}"))
    ax.set(xlabel="Recall", ylabel="Precision", title="Precision and recall, one class against the rest")
    _legend(figure, entries, "Average precision")
    return figure


@style.styled
def reliability(predictions: Predictions) -> Figure:
    """Share of right answers over stated confidence in 15 bins (bars: 95 % Wilson), above how often each is stated.

    Raises:
        UserError: no row has a known target.
    """
    known = scorable(predictions)
    correct = known.predicted == known.targets
    bins, gaps = calibration.gaps(known.probabilities, correct)
    count = np.bincount(bins, minlength=calibration.BINS)
    some = count > 0
    right = np.bincount(bins, weights=correct, minlength=calibration.BINS)[some]
    stated = np.bincount(bins, weights=known.probabilities.max(1), minlength=calibration.BINS)[some] / count[some]
    error = np.abs(np.bincount(bins, weights=gaps)).sum() / len(known)
    share = right / count[some]
    low, high = calibration.wilson(right, count[some])

    figure = style.figure(height=5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=":")
    bars = np.maximum([share - low, high - share], 0)
    upper.errorbar(stated, share, bars, color=style.COLOURS[0], marker="o", markersize=5, capsize=3, elinewidth=1.2)
    upper.set(ylabel="Share right", ylim=(-0.02, 1.02), title=f"Reliability: expected calibration error {error:.3f}")
    middle = (np.arange(calibration.BINS) + 0.5) / calibration.BINS
    lower.bar(middle, count / len(known), width=0.92 / calibration.BINS, color=style.COLOURS[5])
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    lower.set(xlabel="Stated probability of the predicted class", ylabel="Images", xlim=(0, 1))
    for ax in (upper, lower):
        style.grid(ax)
    return figure


FIGURES: dict[str, Callable[[Predictions], Figure]] = {
    "confusion": confusion,
    "roc": roc,
    "precision_recall": precision_recall,
    "reliability": reliability,
}


def _heat(ax: Axes, shown: npt.NDArray, shade: npt.NDArray) -> None:
    ax.set_facecolor(style.GRID)  # shows where a class has no rows
    ax.imshow(shade, cmap=style.SEQUENTIAL, vmin=0, vmax=110, aspect="auto")
    size = 11 if len(shown) <= 4 else 9
    for i, j in np.ndindex(*shown.shape):
        text = "–" if np.isnan(shown[i, j]) else f"{shown[i, j]:,.0f}"
        ax.text(j, i, text, ha="center", va="center", color="white" if shade[i, j] > 72 else style.INK, fontsize=size)
    ax.set_xticks(np.arange(1, len(shown)) - 0.5, minor=True)
    ax.set_yticks(np.arange(1, len(shown)) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _shown(known: Predictions) -> list[int]:
    if len(known.classes) != 2:
        return list(range(len(known.classes)))
    counts = np.bincount(known.targets, minlength=2)
    return [0 if counts[0] < counts[1] else 1]


def _square(known: Predictions) -> tuple[Figure, Axes, list]:
    figure = style.figure(height=5.0 + 0.2 * len(known.classes))
    ax = figure.subplots()
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    style.grid(ax)
    return figure, ax, []


def _legend(figure: Figure, entries: list, title: str) -> None:
    handles, labels = zip(*entries, strict=True)
    figure.legend(
        handles,
        labels,
        title=title,
        loc="outside lower center",
        ncols=1 if len(entries) < 3 else 2,
        columnspacing=1.2,
        alignment="left",
    )

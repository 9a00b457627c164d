"""The course of a training: loss and validation metrics over epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cellml.evaluation import style

_SHOWN = ("balanced_accuracy", "f1_macro", "auroc")


@style.styled
def learning_curves(
    history: Sequence[Mapping[str, float]], best_epoch: int | None = None, metrics: Sequence[str] = _SHOWN
) -> Figure:
    """Training and validation loss above the validation metrics, the best epoch marked.

    Args:
        history: one mapping an epoch with `train/loss` and, where there is validation, `val/loss` and `val/<metric>`;
            what an epoch lacks leaves a gap.
        best_epoch: the one to mark, counted from 1; None or 0 marks none.
        metrics: validation metrics to show, those that the history has.

    Returns:
        the figure; one that says so where no epoch was trained.
    """
    if not history:
        return style.note("No epochs were trained, so there are no learning curves.")
    losses = [key for key in ("train/loss", "val/loss") if any(key in epoch for epoch in history)]
    scores = [f"val/{name}" for name in metrics if any(f"val/{name}" in epoch for epoch in history)]
    panels = [keys for keys in (losses, scores) if keys]
    best = best_epoch - 1 if best_epoch else None
    figure = style.figure(height=1.2 + 2.4 * max(len(panels), 1))
    axes = np.atleast_1d(figure.subplots(max(len(panels), 1), 1, sharex=True))
    for ax, keys in zip(axes, panels, strict=False):
        for k, key in enumerate(keys):
            _course(ax, _series(history, key), key, k, best)
        ax.set_ylabel("Loss" if keys is losses else "Validation score")
        if best is not None:
            ax.axvline(best + 1, color=style.MUTED, linewidth=1, linestyle=":")
        title = f"Epoch {best_epoch}" if best is not None else None
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title=title, alignment="left")
        style.grid(ax)
    axes[-1].set_xlabel(f"Epoch (dotted: the best, {best_epoch})" if best is not None else "Epoch")
    if len(history) == 1:
        axes[-1].set_xlim(0, 2)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_title("Learning curves")
    return figure


@style.styled
def pretraining(history: Sequence[Mapping[str, float]], metrics: Sequence[str] = _SHOWN) -> Figure:
    """Loss of a self-supervised pretraining above the probe's validation scores, with those before it as lines.

    Args:
        history: one mapping an epoch from 0, before training: `train/loss` and, of some epochs, `probe/<metric>`.
        metrics: to show, those that the history has.
    """
    epochs = np.arange(len(history))
    figure = style.figure(height=6.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(epochs, _series(history, "train/loss"), **style.line(0))
    upper.set_ylabel("Loss")
    for k, name in enumerate(name for name in metrics if f"probe/{name}" in history[0]):
        values = _series(history, f"probe/{name}")
        there, look = np.isfinite(values), style.line(k)
        if there.any():
            lower.plot(epochs[there], values[there], marker="o", markersize=4, label=name, **look)
            lower.axhline(values[0], color=look["color"], linewidth=1, linestyle=":")
    lower.set_ylabel("Linear probe,\nvalidation rows")
    lower.set_xlabel("Epoch (dotted: before pretraining)")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), alignment="left")
    for ax in (upper, lower):
        style.grid(ax)
    upper.set_title("Self-supervised pretraining")
    return figure


def _series(history: Sequence[Mapping[str, float]], key: str) -> npt.NDArray[np.float64]:
    return np.array([epoch.get(key, np.nan) for epoch in history], dtype=np.float64)


def _course(ax: Axes, values: npt.NDArray[np.float64], key: str, k: int, best: int | None) -> None:
    look = style.line(k)
    label = {"train/loss": "training", "val/loss": "validation"}.get(key, key.removeprefix("val/"))
    label = style.names([label], 24)[0]
    if best is not None and np.isfinite(values[best]):
        spot: dict[str, Any] = {"marker": "o", "markersize": 8, "markeredgecolor": "white", "zorder": 3}
        ax.plot([best + 1], [values[best]], color=look["color"], **spot)
        label = f"{values[best]:.3f}  {label}"
    ax.plot(np.arange(1, len(values) + 1), values, label=label, marker="o" if len(values) < 3 else None, **look)

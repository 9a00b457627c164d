"""Figures of a screen: the controls' scores, treatments by distance, plates as they stand in the incubator."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cellml.evaluation import style, wellplate
from cellml.evaluation.controls import residuals
from cellml.screening.report import LEVEL, Report

SHOWN = 40  # treatments, or plates times two, that a figure has room for
NEGATIVE, POSITIVE = style.COLOURS[0], style.COLOURS[1]
EMPTY = "#b5b5b5"  # places without a well
AXIS = {"logit": "Logit margin", "probability": "Probability", "discriminant": "Linear discriminant"}


@style.styled
def controls(report: Report) -> Figure:
    """Distributions of the controls' cells, and beneath them their wells; Z' with its interval in the title."""
    screen = report.screen
    ends = ((screen.negative, NEGATIVE), (screen.positive, POSITIVE))
    drawn = style.figure(height=4.6)
    top, below = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    scores = [screen.scores(name) for name, _ in ends]
    edges = np.histogram_bin_edges(np.concatenate(scores), bins=50)
    values = screen.wells["value"].to_numpy(dtype=np.float64)
    for k, ((name, colour), found) in enumerate(zip(ends, scores, strict=True)):
        shares = np.histogram(found, edges)[0] / len(found)
        label = f"{style.names([name])[0]} ({len(found):,} cells, {len(screen.rows(name))} wells)"
        top.stairs(shares, edges, fill=True, color=colour, alpha=0.45, label=label)
        top.stairs(shares, edges, color=colour, linewidth=1.2)
        top.axvline(float(np.median(found)), color=colour, linewidth=1.2, linestyle="--")
        wells = values[screen.rows(name)]
        below.scatter(wells, k + _spread(len(wells)), s=14, color=colour, alpha=0.7, linewidths=0)
    top.set(ylabel="Share of cells", title=_title(report))
    below.set(xlabel=_axis(report), ylim=(-0.6, 1.6))
    below.set_yticks((0, 1), style.names([name for name, _ in ends], 12))
    below.set_ylabel("Wells")
    style.grid(top)
    style.grid(below)
    drawn.legend(loc="outside lower center", ncols=2)
    return drawn


@style.styled
def treatments(report: Report) -> Figure:
    """Distance from the negative control and share of cells like it, with 95 % intervals; filled: q below 0.05."""
    screen, table = report.screen, report.treatments
    beyond = table[table["treatment"].isin(screen.treatments)]
    more = max(0, len(beyond) - SHOWN)
    shown = table[table["treatment"].isin([screen.negative, screen.positive, *beyond["treatment"][:SHOWN]])]
    place = np.array([np.inf if value is None else value for value in shown["distance"]], dtype=np.float64)
    shown = shown.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)
    drawn = style.figure(height=1.9 + 0.27 * len(shown))
    left, right = drawn.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    unit = _units(report)
    for y, row in enumerate(shown.to_dict("records")):
        name = row["treatment"]
        colour = {screen.negative: NEGATIVE, screen.positive: POSITIVE}.get(name, style.INK)
        told = row["q"] is not None and row["q"] < LEVEL
        control = name not in screen.treatments
        wells = unit[screen.rows(name)]
        left.scatter(wells, np.full(len(wells), y), marker="|", s=30, color=colour, alpha=0.3, linewidths=1)
        for axes, key in ((left, "distance"), (right, "like_negative")):
            if row[key] is None:
                continue
            if row[f"{key}_low"] is not None:
                axes.plot([row[f"{key}_low"], row[f"{key}_high"]], [y, y], color=colour, linewidth=1.6)
            fill = colour if told or control else "white"
            axes.plot(row[key], y, marker="D" if control else "o", color=colour, markerfacecolor=fill, markersize=6)
    names = style.names(shown["treatment"], 24)
    left.set_yticks(range(len(shown)), [f"{n} ({w})" for n, w in zip(names, shown["wells"], strict=True)])
    left.invert_yaxis()
    for at, colour in ((0, NEGATIVE), (1, POSITIVE)):
        left.axvline(at, color=colour, linewidth=1, linestyle=":")
    negative, positive = style.names([screen.negative, screen.positive], 12)
    left.set(xlabel=f"Distance: 0 {negative}, 1 {positive}")
    right.set(xlabel=f"Share of cells like {negative}", xlim=(-0.03, 1.03))
    drawn.suptitle(_title_of(report, more), fontsize=11)
    style.grid(left)
    style.grid(right)
    return drawn


@style.styled
def plates(report: Report) -> Figure:
    """Wells where they lie, a row a plate: median scores, and what they differ from their treatment's mean."""
    screen = report.screen
    wells = screen.wells
    shape = wellplate.format_of(wells["well"])
    if shape is None:
        odd = next(name for name in wells["well"] if wellplate.position(name) is None)
        return style.note(f"Wells are not named as on a plate (A1, B07), {style.names([odd])[0]} say: none is drawn.")
    deviations = residuals(screen)
    if not np.isfinite(deviations).all():
        return style.note("The controls do not differ, so there is no unit to draw plates in.")
    known = sorted(set(wells["plate"]))
    names = known[: SHOWN // 2]
    unit = _units(report)
    limit = max(0.2, float(np.percentile(np.abs(deviations), 98)))
    side = style.WIDTH / 2 * shape[0] / shape[1]
    drawn = style.figure(height=1.4 + len(names) * max(1.1, side))
    grid = drawn.subplots(len(names), 2, squeeze=False)
    looks = ((unit, "coolwarm", (-0.25, 1.25)), (deviations, "PuOr_r", (-limit, limit)))
    for axes, name in zip(grid, names, strict=True):
        here = np.flatnonzero((wells["plate"] == name).to_numpy())
        for ax, (values, colours, (low, high)) in zip(axes, looks, strict=True):
            image = np.full(shape, np.nan)
            for well in here:
                place = wellplate.position(wells["well"][well])
                if place is not None:
                    image[place] = values[well]
            ax.set_facecolor(EMPTY)
            shown = ax.imshow(image, cmap=colours, vmin=low, vmax=high, aspect="equal")
            _ticks(ax, shape)
            ax.set_title(style.names([name or "wells"])[0], fontsize=10)
            if name == names[-1]:
                drawn.colorbar(
                    shown,
                    ax=grid[:, int(ax is axes[1])],
                    location="bottom",
                    fraction=0.06,
                    pad=0.02,
                    label=(
                        "Difference from the treatment's mean"
                        if ax is axes[1]
                        else "Median score: 0 and 1 are the controls"
                    ),
                )
    edge = report.of_edge().replace(" of the distance between the controls", "")
    rest = f"; {len(known) - len(names)} more plates" if len(known) > len(names) else ""
    drawn.suptitle(f"Plates{rest}" if not edge else f"Plates{rest}; {edge}", fontsize=11)
    return drawn


FIGURES: dict[str, Callable[[Report], Figure]] = {"controls": controls, "treatments": treatments, "plates": plates}


def _units(report: Report) -> npt.NDArray[np.float64]:
    """Values of wells with the negative control's mean at 0 and the positive one's at 1, (W,)."""
    screen = report.screen
    values = screen.wells["value"].to_numpy(dtype=np.float64)
    low, high = (values[screen.rows(name)].mean() for name in (screen.negative, screen.positive))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (values - low) / (high - low)


def _title(report: Report) -> str:
    both = (("Z'", "z_prime"), ("robust Z'", "robust_z_prime"))
    return "\n".join(f"{name} {report.of_controls('cells', key)}" for name, key in both)


def _title_of(report: Report, more: int) -> str:
    against = style.names([getattr(report.screen, report.settings.against)], 12)[0]
    return f"Treatments (wells); filled: q < {LEVEL} against {against}" + (f"; {more} more" if more else "")


def _axis(report: Report) -> str:
    kind, _, which = report.settings.score.partition(":")
    unit = ", in units of the plate's controls" if report.settings.normalise == "plate" else ""
    return AXIS[kind] + (f" of {style.names([which])[0]}" if which else "") + unit


def _spread(count: int) -> npt.NDArray[np.float64]:
    """Heights of points beside each other, so that they do not hide each other, (count,)."""
    return 0.25 * np.sin(2.4 * np.arange(count))


def _ticks(axes: Axes, shape: tuple[int, int]) -> None:
    every = 1 if shape[1] <= 12 else 4
    axes.set_xticks(range(0, shape[1], every), [str(c + 1) for c in range(0, shape[1], every)], fontsize=7)
    axes.set_yticks(range(0, shape[0], every), [wellplate.row_name(r) for r in range(0, shape[0], every)], fontsize=7)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(style.GRID)

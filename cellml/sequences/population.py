"""The population of a movie over time: how many cells are in which stage, and how many divide."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from cellml.errors import UserError, near
from cellml.evaluation import calibration, style
from cellml.sequences.overlay.style import colours
from cellml.sequences.said import Said

MITOTIC = ("prophase", "prometaphase", "metaphase", "anaphase", "telophase", "mitosis", "mitotic", "m")


def mitotic_stages(classes: Sequence[str], named: Sequence[str] = ()) -> list[str]:
    """The stages that count as mitosis.

    Args:
        classes: K stage names.
        named: which; default: those that are called so, whatever their case.

    Raises:
        UserError: a stage that is none of the classes.
    """
    if wrong := [name for name in named if name not in classes]:
        raise UserError(f"Expected stages of the model in mitotic, got {wrong[0]!r}: {near(wrong[0], classes)}")
    return list(named) or [name for name in classes if name.strip().lower() in MITOTIC]


def table(said: Said, frames: int, mitotic: Sequence[str], interval: float | None = None) -> pd.DataFrame:
    """Counts and shares of the stages in every frame.

    Args:
        said: of the cells.
        frames: T of the movie.
        mitotic: stages that count for the mitotic index, the share of cells in mitosis; none: it is left out.
        interval: minutes between frames, None where unknown.

    Returns:
        T rows: `frame`, `minutes`, `cells`, `share_<stage>` (NaN where there is no cell), `mitotic_index` with the 95 %
        score interval `mitotic_low`, `mitotic_high` (Wilson 1927: of cells seen at one time, taken as independent).
    """
    k, stages = len(said.classes), said.stages
    rows = said.cells.frames(frames)
    counts = np.stack([np.bincount(stages[chosen], minlength=k) for chosen in rows])
    total = counts.sum(axis=1)
    shares = np.divide(counts, total[:, None], out=np.full(counts.shape, np.nan), where=total[:, None] > 0)
    found = pd.DataFrame({"frame": np.arange(frames)})
    if interval is not None:
        found["minutes"] = found["frame"] * interval
    found["cells"] = total
    for name, share in zip(said.classes, shares.T, strict=True):
        found[f"share_{name}"] = share
    if mitotic:
        dividing = counts[:, [said.classes.index(name) for name in mitotic]].sum(axis=1)
        low, high = np.full((2, frames), np.nan)
        some = total > 0
        low[some], high[some] = calibration.wilson(dividing[some], total[some])
        index = np.divide(dividing, total, out=np.full(frames, np.nan), where=some)
        found["mitotic_index"], found["mitotic_low"], found["mitotic_high"] = index, low, high
    return found


@style.styled
def figure(population: pd.DataFrame, classes: Sequence[str], mitotic: Sequence[str], caption: str = "") -> Figure:
    """Shares of the stages over time, and beneath them the mitotic index with its band.

    Args:
        population: from `table`.
        classes: K stage names.
        mitotic: what the index counts.
        caption: a warning beneath, "" for none.
    """
    made = style.figure(height=5.2 if mitotic else 3.4)
    axes = made.subplots(2 if mitotic else 1, 1, sharex=True, squeeze=False)[:, 0]
    timed = "minutes" in population
    x = population["minutes"].to_numpy() / 60 if timed else population["frame"].to_numpy()
    shares = [population[f"share_{name}"].fillna(0).to_numpy() for name in classes]
    fills = [tuple(v / 255 for v in colour) for colour in colours(len(classes))]
    axes[0].stackplot(x, shares, labels=style.names(classes), colors=fills)
    axes[0].set(ylim=(0, 1), ylabel="share of cells", xlim=(x[0], x[-1]))
    most, least = int(population["cells"].max()), int(population["cells"].min())
    axes[0].set_title(f"{least} to {most} cells a frame" if most > least else f"{most} cells a frame", loc="left")
    handles, names = axes[0].get_legend_handles_labels()
    axes[0].legend(handles[::-1], names[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    if mitotic:
        band = [population[name].to_numpy() for name in ("mitotic_low", "mitotic_high")]
        axes[1].fill_between(x, *band, color=style.COLOURS[0], alpha=0.2, linewidth=0, label="95 % interval")
        axes[1].plot(x, population["mitotic_index"], color=style.COLOURS[0], label="of all cells")
        axes[1].set(ylabel="mitotic index", ylim=(0, _ceiling(band[1])))
        axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        style.grid(axes[1])
    axes[-1].set_xlabel("hours" if timed else "frame")
    if caption:
        made.supxlabel(caption, fontsize=9, color=style.COLOURS[1])
    return made


def _ceiling(values: npt.NDArray[np.float64]) -> float:
    top = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    return min(1.0, max(0.05, 1.05 * top))

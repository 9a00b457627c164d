"""Composition of populations (wells of known mixture): true against predicted, with intervals, errors and a figure."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from cellml.evaluation import confusion, intervals, metrics, populations, quantify, style
from cellml.evaluation.predictions import Predictions

Array = npt.NDArray[np.float64]
COLUMNS = ("group", "images", "class", "true", "predicted", "low", "high", "adjusted_count", "prior_corrected")
ESTIMATES = ("predicted", "adjusted_count", "prior_corrected")


def table(
    predictions: Predictions,
    validation: Predictions | None = None,
    prior: Mapping[str, float] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """True and predicted share of each class in each population (see `populations`).

    Args:
        predictions: N rows with soft labels.
        validation: whose confusions the adjusted count inverts; its rows of known class count.
        prior: class -> label mass of the rows trained on, for the prior correction.
        resamples: of a population's images, for its interval.
        seed: of the resamples.

    Returns:
        A row for each population and class, with `COLUMNS`: `predicted` is the mean probability, `low` and `high` its
        95 % interval under resampling of the population's images; `adjusted_count` and `prior_corrected` see
        `quantify`, NaN where `validation` or `prior` is missing. No rows where there are no populations.

    Raises:
        UserError: nothing to score, or a probability is not finite.
    """
    known = metrics.scorable(predictions, soft=True)
    found = populations.find(known)
    classes = known.classes
    counts = None if validation is None else _confusions(validation)
    mass = None if prior is None else np.array([prior.get(name, 0.0) for name in classes])
    records = []
    for g, name in enumerate(found.names):
        p = known.probabilities[found.rows[g]]
        low, high = _interval(p, resamples, seed)
        said = np.bincount(p.argmax(1), minlength=len(classes)) / len(p)
        adjusted = np.full(len(classes), np.nan) if counts is None else quantify.adjusted_count(said, counts)
        corrected = np.full(len(classes), np.nan) if mass is None else quantify.prior_corrected(p, mass)
        columns = (found.true[g], found.predicted[g], low, high, adjusted, corrected)
        records += [(name, len(p), label, *(float(c[k]) for c in columns)) for k, label in enumerate(classes)]
    return pd.DataFrame(records, columns=list(COLUMNS))


def summary(predictions: Predictions, shares: pd.DataFrame) -> pd.DataFrame:
    """How far predicted compositions are from the true ones, for each way to predict them.

    Args:
        predictions: N rows, those that `shares` was made of.
        shares: of `table`.

    Returns:
        A row for each of `ESTIMATES`, with `estimate`; `rmse_image`, the root of the sum over the populations' images
        and classes of (label - p)^2 divided by the images (of `predicted` alone: the others have no probabilities of
        an image); `rmse_population`, the same over populations; `mae`, the mean absolute error over populations and
        classes. NaN where there is nothing.
    """
    rows = populations.find(predictions).rows
    images = metrics.rmse(predictions.where(np.concatenate(rows))) if rows else np.nan
    records = []
    for name in ESTIMATES:
        error = (shares["true"] - shares[name]).to_numpy(dtype=float)
        squares = (error**2).reshape(-1, len(predictions.classes)).sum(1)
        some = len(error) > 0
        records.append(
            {
                "estimate": name,
                "rmse_image": images if name == "predicted" else np.nan,
                "rmse_population": float(np.sqrt(squares.mean())) if some else np.nan,
                "mae": float(np.abs(error).mean()) if some else np.nan,
            }
        )
    return pd.DataFrame(records)


@style.styled
def figure(shares: pd.DataFrame) -> Figure:
    """Predicted over true share of each class in each population with its 95 % interval; dotted: the same.

    Args:
        shares: of `table`.

    Returns:
        the figure; one that says so where there are no populations.
    """
    if not len(shares):
        return style.note("No groups of several images with soft labels, so there is no composition to compare.")
    classes = list(dict.fromkeys(shares["class"]))
    drawn = style.figure(height=5.0 + 0.2 * len(classes))
    axes = drawn.subplots()
    axes.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=":")
    for k, name in enumerate(style.names(classes, 26)):
        rows = shares[shares["class"] == classes[k]]
        true, said, low, high = (rows[c].to_numpy(dtype=float) for c in ("true", "predicted", "low", "high"))
        beside = 0.008 * (k - (len(classes) - 1) / 2)  # classes of the same true share do not hide each other
        bars = np.maximum([said - low, high - said], 0)
        look = {"color": style.line(k)["color"], "marker": "os^Dvp*"[k % 7], "linestyle": "none"}
        error = np.abs(true - said).mean()
        axes.errorbar(true + beside, said, bars, label=f"{error:.3f}  {name}", capsize=2, elinewidth=1, **look)
    wrong = shares["true"] - shares["predicted"]
    rmse = np.sqrt((wrong**2).sum() / shares["group"].nunique())
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal", xlabel="True share", ylabel="Mean probability")
    axes.set_title(f"Composition of {shares['group'].nunique()} populations: RMSE {rmse:.3f}")
    style.grid(axes)
    title = "Mean absolute error over the populations, by class"
    drawn.legend(loc="outside lower center", title=title, ncols=1 if len(classes) < 3 else 2, alignment="left")
    return drawn


def _confusions(validation: Predictions) -> Array:
    known = metrics.scorable(validation)
    return confusion.matrix(known.targets, known.predicted, len(known.classes))


def _interval(probabilities: Array, resamples: int, seed: int) -> tuple[Array, Array]:
    """2.5th and 97.5th percentile of the mean of resampled rows, (K,) each."""
    count = len(probabilities)
    sums = [np.einsum("nr,nk->rk", times, probabilities) for times in intervals.multiplicities(count, resamples, seed)]
    low, high = np.percentile(np.concatenate(sums) / count, [2.5, 97.5], axis=0)
    return low, high

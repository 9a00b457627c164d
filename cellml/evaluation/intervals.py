"""How sure a score is: bootstrap over groups (patients, slides, wells), or over images where nothing groups them.

Images of one group are alike, so groups are drawn with replacement and every image comes as often as its group (Field
and Welsh 2007, J. R. Stat. Soc. B 69:369, "randomised cluster bootstrap"). Intervals are the 2.5th and 97.5th
percentile. A resample may miss a class: macro figures then run over the classes it has, and resamples that leave a
figure undefined (the missing class's own recall, AUROC with one class) are not counted. With fewer than two groups
nothing can be said, and everything is NaN; below about ten, intervals are too narrow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.evaluation.predictions import Predictions
from cellml.evaluation.resampled import Resampled

Array = npt.NDArray[np.float64]
_CELLS = 2**19  # multiplicities held at once: 4 MiB


FEW = 5  # groups, below which intervals say next to nothing


def caution(groups: npt.ArrayLike, what: str = "the test rows come") -> str | None:
    """One line where (N,) rows come from so few groups that their intervals and p say little; None otherwise."""
    count = len(set(np.asarray(groups, dtype=object)))
    if count >= FEW:
        return None
    return f"{what} from {count} group{'' if count == 1 else 's'}: intervals and p say next to nothing"


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval and the (R,) resampled scores it was read from, NaN where undefined."""

    low: float
    high: float
    samples: Array


def bootstrap(
    predictions: Predictions, names: Sequence[str], resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """95 % intervals of several metrics of one model, all on the same resamples.

    Args:
        predictions: rows that a metric does not score (see `metrics.scorable`) are left out.
        names: metrics, per-class ones such as `recall_<class>` among them.
        resamples: R.
        seed: the same seed and groups give the same resamples, whatever the model.

    Returns:
        name -> interval.

    Raises:
        UserError: no such metric, or nothing to score.
    """
    samples = _sampled([predictions], names, resamples, seed)
    return {name: interval(samples[name][:, 0]) for name in names}


def interval(samples: Array) -> Interval:
    """The percentile interval of resampled scores, (R,); NaN where no resample defined the score."""
    defined = samples[np.isfinite(samples)]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (np.nan, np.nan)
    return Interval(float(low), float(high), samples)


def paired(models: Sequence[Predictions], name: str, resamples: int = 2000, seed: int = 0) -> Array:
    """One metric of several models on the same resamples, so that their difference can be judged.

    Args:
        models: M predictions for the same images; rows may stand in another order.
        name: a metric.
        resamples: R.
        seed: as `bootstrap`'s: column m is what it gives for model m.

    Returns:
        (R, M) scores.

    Raises:
        UserError: the models saw other images, labels, groups or classes; no such metric; nothing to score.
    """
    return _sampled(models, [name], resamples, seed)[name]


def p_vs_best(samples: Array, scores: npt.ArrayLike, higher: bool = True) -> Array:
    """Two-sided bootstrap p of each model against the best one.

    p = min(1, 2 min((1 + #{d <= 0}) / (R + 1), (1 + #{d >= 0}) / (R + 1))) over the differences d between the best
    model's resampled scores and this one's (Davison and Hinkley 1997, Bootstrap Methods, section 4.4: the + 1 counts
    the observed data as a resample, so that p is never 0). Undefined resamples are not counted.

    Args:
        samples: (R, M) of `paired`.
        scores: (M,) scores on the data itself; the first of the best ones is what is compared with.
        higher: whether the greater score is the better, `metrics.higher_is_better`.

    Returns:
        (M,); 1 for the best itself, NaN where a score or all its resamples are undefined.
    """
    points = np.asarray(scores, dtype=np.float64) * (1 if higher else -1)
    if not np.isfinite(points).any():
        return np.full(len(points), np.nan)
    difference = samples[:, [int(np.nanargmax(points))]] - samples
    defined = np.isfinite(difference)
    count = defined.sum(0)
    below = (1 + (defined & (difference <= 0)).sum(0)) / (count + 1)
    above = (1 + (defined & (difference >= 0)).sum(0)) / (count + 1)
    p = np.minimum(1, 2 * np.minimum(below, above))
    return np.where((count > 0) & np.isfinite(points), p, np.nan)


def aligned(models: Sequence[Predictions]) -> list[Predictions]:
    """Several models' predictions with their rows in the first one's order.

    Raises:
        UserError: the models saw other images, labels, groups or classes.
    """
    first = models[0]
    found = [first]
    for known in models[1:]:
        if known.classes != first.classes:
            raise UserError(
                f"Expected models over the same classes, got {list(first.classes)} and {list(known.classes)}; "
                "compare models trained with the same class names in the same order"
            )
        positions = pd.Index(known.ids).get_indexer(pd.Index(first.ids)) if len(known) == len(first) else np.array([-1])
        if (positions < 0).any():
            raise UserError(
                f"Expected predictions for the same {len(first)} labelled images, got {len(known)} other ones; "
                "evaluate every model on the same test set"
            )
        model = known.where(positions)
        for what, name in (("targets", "targets"), ("groups", "groups"), ("truth", "soft targets")):
            different = getattr(model, what) != getattr(first, what)
            if different.any():
                count = int(different.reshape(len(first), -1).any(axis=1).sum())
                raise UserError(
                    f"Expected the same {name} for every model, got {count} different ones; "
                    "evaluate every model on the same test set"
                )
        found.append(model)
    return found


def multiplicities(groups: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each group is drawn in each resample, in chunks (G, r) float64 of R columns in all, each of sum G."""
    yield from stratified(np.zeros(groups, dtype=np.int64), resamples, seed)


def stratified(strata: npt.NDArray[np.int64], resamples: int, seed: int) -> Iterator[Array]:
    """As `multiplicities` of G groups, drawn within their strata (G,), each of which keeps its number of groups."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    step = max(1, _CELLS // len(strata))
    for start in range(0, resamples, step):
        columns = min(step, resamples - start)
        found = np.empty((len(strata), columns))
        for chosen in members:
            drawn = rng.integers(0, len(chosen), (columns, len(chosen)))
            cells = drawn * columns + np.arange(columns)[:, None]
            found[chosen] = np.bincount(cells.ravel(), minlength=len(chosen) * columns).reshape(-1, columns)
        yield found


def _sampled(models: Sequence[Predictions], names: Sequence[str], resamples: int, seed: int) -> dict[str, Array]:
    for name in names:
        metrics.check(name, models[0].classes, models[0].sequences is not None)
    soft = [name for name in names if name in metrics.SOFT]
    if soft and models[0].soft_targets is not None and len(soft) < len(names):
        hard = [name for name in names if name not in metrics.SOFT]
        return _sampled(models, hard, resamples, seed) | _sampled(models, soft, resamples, seed)
    known = aligned([metrics.scorable(model, soft=bool(soft)) for model in models])
    codes, uniques = pd.factorize(known[0].groups, sort=True)
    count = len(uniques)
    samples = {name: np.full((resamples, len(models)), np.nan) for name in names}
    if count < 2:
        return samples
    prepared = [Resampled(model, codes.astype(np.int64), count) for model in known]
    start = 0
    for drawn in multiplicities(count, resamples, seed):
        stop = start + drawn.shape[1]
        for m, model in enumerate(prepared):
            for name, values in model.scores(names, drawn).items():
                samples[name][start:stop, m] = values
        start = stop
    return samples

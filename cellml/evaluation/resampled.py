"""One model's metrics under many resamples of its groups, from per-group sufficient statistics.

A resample is a column of multiplicities: how often each group was drawn; a group drawn twice is two groups. Metrics of
the confusion matrix, mean losses, calibration and the error of compositions follow from sums over groups: a product
with a sparse matrix scores all resamples, in a time that does not grow with the number of classes (and without BLAS
threads, which a busy machine slows down a hundredfold). AUROC and average precision are weighted rank statistics. A
metric that is only registered, with no such form, is called once a resample.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
from scipy import sparse

from cellml.evaluation import calibration, confusion, losses, metrics, populations, ranking, segments
from cellml.evaluation.predictions import Predictions

Array = npt.NDArray[np.float64]
_PAIRS = 4  # group pairs a row up to which their table is faster than going through the rows


def _mean(figure: Callable[[Array], Array], counts: Array) -> Array:
    return confusion.macro(figure(counts))


def _weighted(figure: Callable[[Array], Array], counts: Array) -> Array:
    return confusion.weighted(figure(counts), counts)


_FIGURES = {"precision": confusion.precision, "recall": confusion.recall, "f1": confusion.f1}
_OF_COUNTS: dict[str, Callable[[Array], Array]] = {
    "accuracy": confusion.accuracy,
    "balanced_accuracy": partial(_mean, confusion.recall),
    "mcc": confusion.mcc,
    **{f"{name}_macro": partial(_mean, figure) for name, figure in _FIGURES.items()},
    **{f"{name}_weighted": partial(_weighted, figure) for name, figure in _FIGURES.items()},
}


class Resampled:
    """Predictions arranged by group, ready to be scored under any multiplicities.

    Args:
        predictions: N rows that the metrics to come can score, see `metrics.scorable`.
        groups: (N,) group index.
        count: G, the number of groups.
    """

    def __init__(self, predictions: Predictions, groups: npt.NDArray[np.int64], count: int) -> None:
        self.predictions = predictions
        self.groups = groups
        self.count = count

    def scores(self, names: Sequence[str], multiplicities: Array) -> dict[str, Array]:
        """Metrics under each resample.

        Args:
            names: metrics, per-class ones among them.
            multiplicities: (G, R) how often each group was drawn.

        Returns:
            name -> (R,); NaN where a resample does not define it.
        """
        classes = self.predictions.classes
        whole = {*metrics.METRICS, *segments.METRICS}
        kinds = {name: name if name in whole else metrics.per_class(name, classes)[0] for name in names}
        counts = None
        if any(kind in _OF_COUNTS or kind in _FIGURES for kind in kinds.values()):
            counts = (self._counts @ multiplicities).T.reshape(-1, len(classes), len(classes))
        found = {}
        for name, kind in kinds.items():
            if kind in _OF_COUNTS and counts is not None:
                found[name] = _OF_COUNTS[kind](counts)
            elif kind in _FIGURES and counts is not None:
                found[name] = _FIGURES[kind](counts)[:, metrics.per_class(name, classes)[1]]
            elif kind in ("auroc", "average_precision"):
                found[name] = self._ranked(name, kind, multiplicities)
            elif kind == "ece":
                found[name] = np.abs(self._gaps @ multiplicities).sum(0) / self._sizes(multiplicities)
            elif kind == "composition_rmse":
                found[name] = self._composition(multiplicities)
            elif kind in segments.METRICS:
                found[name] = segments.METRICS[kind](self._segments(multiplicities))
            elif kind == "log_loss" or kind in metrics.SOFT:
                found[name] = self._mean_loss(kind, multiplicities)
            else:
                found[name] = self._called(name, multiplicities)
        return found

    @cached_property
    def _counts(self) -> sparse.csr_array:
        p = self.predictions
        k = len(p.classes)
        return self._by_group(p.targets * k + p.predicted, np.ones(len(p)), k * k)

    @cached_property
    def _populations(self) -> populations.Populations:
        return populations.find(self.predictions)

    @cached_property
    def _gaps(self) -> sparse.csr_array:
        p = self.predictions
        bins, gaps = calibration.gaps(p.probabilities, p.predicted == p.targets)
        return self._by_group(bins, gaps, calibration.BINS)

    def _by_group(self, cells: npt.NDArray[np.int64], values: Array, count: int) -> sparse.csr_array:
        return sparse.coo_array((values, (cells, self.groups)), shape=(count, self.count)).tocsr()

    def _sizes(self, multiplicities: Array) -> Array:
        return self._sums(np.ones(len(self.predictions)), multiplicities)

    def _sums(self, values: Array, multiplicities: Array) -> Array:
        """Sum of a value a row over each resample, (R,)."""
        return np.einsum("g,gr->r", np.bincount(self.groups, weights=values, minlength=self.count), multiplicities)

    def _mean_loss(self, kind: str, multiplicities: Array) -> Array:
        p = self.predictions
        values = losses.log_losses(p) if kind == "log_loss" else losses.soft_losses(kind, p)
        means = self._sums(values, multiplicities) / self._sizes(multiplicities)
        return np.sqrt(means) if kind == "rmse" else means

    def _composition(self, multiplicities: Array) -> Array:
        found = self._populations
        drawn = multiplicities[[self.groups[rows[0]] for rows in found.rows]]
        count = drawn.sum(0)
        errors = np.einsum("p,pr->r", populations.squares(found), drawn)
        return np.sqrt(errors / np.where(count > 0, count, np.nan))

    @cached_property
    def _tally(self) -> segments.Tally:
        return segments.tally(self.predictions)

    def _segments(self, multiplicities: Array) -> dict[str, Array]:
        drawn = multiplicities[self.groups[self._tally.rows]]
        return {name: np.einsum("q,qr->r", values, drawn) for name, values in self._tally.counts.items()}

    def _ranked(self, name: str, kind: str, multiplicities: Array) -> Array:
        p = self.predictions
        if name not in metrics.METRICS:
            wanted = [metrics.per_class(name, p.classes)[1]]
        elif kind == "auroc" and len(p.classes) == 2:
            wanted = [1]
        else:
            wanted = list(range(len(p.classes)))
        if kind == "auroc" and self.count**2 <= _PAIRS * len(p):
            return confusion.macro(np.stack([self._area(k, multiplicities) for k in wanted], axis=1))
        ranked = ranking.auroc if kind == "auroc" else ranking.average_precision
        columns = [ranked(p.probabilities[:, k], p.targets == k, multiplicities, self.groups) for k in wanted]
        return confusion.macro(np.stack(columns, axis=1))

    def _area(self, k: int, multiplicities: Array) -> Array:
        """AUROC of class k by the pairs that groups win against each other, (R,)."""
        p, positive = self.predictions, self.predictions.targets == k
        won = sparse.csr_array(ranking.wins(p.probabilities[:, k], positive, self.groups, self.count))
        pairs = self._sums(positive.astype(float), multiplicities) * self._sums(
            (~positive).astype(float), multiplicities
        )
        return np.einsum("gr,gr->r", multiplicities, won @ multiplicities) / np.where(pairs > 0, pairs, np.nan)

    def _called(self, name: str, multiplicities: Array) -> Array:
        times = multiplicities[self.groups].T.astype(np.int64)
        return np.array([metrics.METRICS[name](self._drawn(t)) for t in times])

    def _drawn(self, times: npt.NDArray[np.int64]) -> Predictions:
        """The rows of one resample, (N,) how often each; every draw of a group is a group of its own."""
        rows = np.repeat(np.arange(len(times)), times)
        draw = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
        made = self.predictions.where(rows)
        groups = (self.groups[rows] + self.count * draw).astype(str).astype(object)
        sequences = (
            None if made.sequences is None else made.sequences + np.char.add("/", draw.astype(str)).astype(object)
        )
        return replace(made, groups=groups, sequences=sequences)

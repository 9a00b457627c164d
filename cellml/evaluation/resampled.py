"""One model's metrics under many resamples of its groups, from per-group sufficient statistics.

A resample is a column of multiplicities: how often each group was drawn. Metrics of the confusion matrix, log-loss and
calibration follow from sums over groups: a product with a sparse matrix scores all resamples, in a time that does not
grow with the number of classes (and without BLAS threads, which a busy machine slows down a hundredfold). AUROC and
average precision are weighted rank statistics. A metric that is only registered, with no such form, is called once a
resample.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
from scipy import sparse

from cellml.evaluation import calibration, confusion, metrics, ranking
from cellml.evaluation.predictions import Predictions

Array = npt.NDArray[np.float64]


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
        predictions: N rows, every target known.
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
        kinds = {name: name if name in metrics.METRICS else metrics.per_class(name, classes)[0] for name in names}
        counts = rows = None
        if any(kind in _OF_COUNTS or kind in _FIGURES for kind in kinds.values()):
            counts = (self._counts @ multiplicities).T.reshape(-1, len(classes), len(classes))
        if any(kind in ("auroc", "average_precision") for kind in kinds.values()):
            rows = multiplicities[self.groups]
        found = {}
        for name, kind in kinds.items():
            if kind in _OF_COUNTS and counts is not None:
                found[name] = _OF_COUNTS[kind](counts)
            elif kind in _FIGURES and counts is not None:
                found[name] = _FIGURES[kind](counts)[:, metrics.per_class(name, classes)[1]]
            elif kind in ("auroc", "average_precision") and rows is not None:
                found[name] = self._ranked(name, kind, rows)
            elif kind in ("log_loss", "ece"):
                found[name] = self._summed(kind, multiplicities)
            else:
                found[name] = self._called(name, multiplicities)
        return found

    @cached_property
    def _counts(self) -> sparse.csr_array:
        p = self.predictions
        k = len(p.classes)
        return self._by_group(p.targets * k + p.predicted, np.ones(len(p)), k * k)

    @cached_property
    def _sizes(self) -> sparse.csr_array:
        p = self.predictions
        return self._by_group(np.zeros_like(p.targets), np.ones(len(p)), 1)

    @cached_property
    def _losses(self) -> sparse.csr_array:
        p = self.predictions
        return self._by_group(np.zeros_like(p.targets), metrics.losses(p), 1)

    @cached_property
    def _gaps(self) -> sparse.csr_array:
        p = self.predictions
        bins, gaps = calibration.gaps(p.probabilities, p.predicted == p.targets)
        return self._by_group(bins, gaps, calibration.BINS)

    def _by_group(self, cells: npt.NDArray[np.int64], values: Array, count: int) -> sparse.csr_array:
        return sparse.coo_array((values, (cells, self.groups)), shape=(count, self.count)).tocsr()

    def _summed(self, kind: str, multiplicities: Array) -> Array:
        sums = (self._losses if kind == "log_loss" else self._gaps) @ multiplicities
        return np.abs(sums).sum(0) / (self._sizes @ multiplicities)[0]

    def _ranked(self, name: str, kind: str, rows: Array) -> Array:
        p = self.predictions
        ranked = ranking.auroc if kind == "auroc" else ranking.average_precision
        if name not in metrics.METRICS:
            wanted = [metrics.per_class(name, p.classes)[1]]
        elif kind == "auroc" and len(p.classes) == 2:
            wanted = [1]
        else:
            wanted = list(range(len(p.classes)))
        return confusion.macro(np.stack([ranked(p.probabilities[:, k], p.targets == k, rows) for k in wanted], axis=1))

    def _called(self, name: str, multiplicities: Array) -> Array:
        positions = np.arange(len(self.predictions))
        times = multiplicities[self.groups].T.astype(np.int64)
        return np.array([metrics.METRICS[name](self.predictions.where(np.repeat(positions, t))) for t in times])

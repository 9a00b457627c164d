"""Groups of images as populations: what each consists of in truth, and by its images' mean probabilities.

A population is a group (a well, a slide) of at least two rows of a data set with soft labels. Its composition is the
mean of its rows' label probabilities: the ratio of a well whose images all carry it, the class frequencies of a group
whose images are known one by one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.evaluation.predictions import Predictions

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Populations:
    """G populations over K classes.

    Attributes:
        names: (G,) the groups, sorted.
        rows: the (n_g,) positions of each one's images.
        true: (G, K) mean label probabilities.
        predicted: (G, K) mean predicted probabilities.
    """

    names: tuple[str, ...]
    rows: tuple[npt.NDArray[np.int64], ...]
    true: Array
    predicted: Array

    def __len__(self) -> int:
        return len(self.names)


def find(predictions: Predictions) -> Populations:
    """The populations among N rows; none where labels are hard or every row is a group by itself."""
    codes, names = pd.factorize(predictions.groups, sort=True)
    split = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    known = [] if predictions.soft_targets is None else zip(names, split, strict=False)
    kept = [(str(name), rows) for name, rows in known if len(rows) > 1]
    shape = (-1, len(predictions.classes))
    return Populations(
        names=tuple(name for name, _ in kept),
        rows=tuple(rows for _, rows in kept),
        true=np.reshape([predictions.truth[rows].mean(0) for _, rows in kept], shape),
        predicted=np.reshape([predictions.probabilities[rows].mean(0) for _, rows in kept], shape),
    )


def rmse(predictions: Predictions) -> float:
    """Root of the sum over populations and classes of (true - predicted share)^2, divided by the populations.

    Returns:
        NaN where there are no populations.
    """
    found = find(predictions)
    return float(np.sqrt(squares(found).mean())) if len(found) else float("nan")


def squares(found: Populations) -> Array:
    """Squared error of each population's predicted composition, summed over classes, (G,)."""
    return ((found.true - found.predicted) ** 2).sum(1)

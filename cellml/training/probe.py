"""How much of the classes a network's embeddings tell: a linear probe."""

import numpy as np
import numpy.typing as npt

from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.models import embeddings, head
from cellml.models.classifier import Classifier
from cellml.training import arrays


def fit(model: Classifier, dataset: Dataset, train: Manifest, l2: float) -> head.Head:
    """A linear head on the network's embeddings of the training rows, every class of the same weight.

    Args:
        model: used in evaluation mode, on the device where it is; its mode is restored.
        dataset: the images behind the rows.
        train: N rows.
        l2: strength of the penalty, see `cellml.models.head.fit`.
    """
    prepared = dataset.pixels.resized(model.spec.crop, model.spec.size, train.rows)
    targets = arrays.labels(train).double().numpy()
    return head.fit(embeddings.compute(model, prepared), targets, len(train.classes), weights=_balanced(targets), l2=l2)


def _balanced(targets: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N,) weights of rows with label probabilities (N, K), by which every class weighs the same."""
    return (targets / np.maximum(targets.sum(axis=0), 1e-12)).sum(axis=1)

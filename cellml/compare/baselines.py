"""Simple opponents that a network must beat, fitted on the training and validation rows in the same run."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

from cellml.compare.collect import Evaluated
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation.predictions import Predictions
from cellml.registry import Registry
from cellml.tracking.registry import Entry

Baseline = Callable[[Dataset, Manifest, Manifest], npt.NDArray[np.float64]]
BASELINES: Registry[Baseline] = Registry("baseline")
THUMBNAIL = 16  # pixels a side


@BASELINES.register("thumbnail_forest")
def thumbnail_forest(dataset: Dataset, train: Manifest, test: Manifest) -> npt.NDArray[np.float64]:
    """Random forest of 300 trees on the pixels of 16 x 16 thumbnails.

    Args:
        dataset: whose pixel cache the manifests' rows point into.
        train: rows to fit.
        test: N rows to predict.

    Returns:
        Probabilities (N, K), 0 for a class without training rows.
    """
    forest = RandomForestClassifier(300, n_jobs=-1, random_state=0)
    known = train.where(~train.mixed)
    forest.fit(_thumbnails(dataset, known), known.targets)
    probabilities = np.zeros((len(test), len(test.classes)))
    probabilities[:, forest.classes_] = forest.predict_proba(_thumbnails(dataset, test))
    return probabilities


def evaluate(names: Sequence[str], dataset: Dataset, test: Manifest) -> list[Evaluated]:
    """Fit baselines on training and validation rows and predict the test rows, as entries of the benchmark.

    Raises:
        UserError: an unknown baseline.
    """
    train = dataset.manifest.split("train", "val")
    return [_one(name, dataset, train, test) for name in names]


def _one(name: str, dataset: Dataset, train: Manifest, test: Manifest) -> Evaluated:
    start = time.perf_counter()
    probabilities = BASELINES[name](dataset, train, test)
    milliseconds = 1000 * (time.perf_counter() - start) / len(test)
    predictions = Predictions(
        ids=test.ids,
        targets=test.known_targets,
        probabilities=probabilities,
        groups=test.groups,
        classes=test.classes,
        soft_targets=test.soft_targets,
    )
    tags = {"cellml.backbone": name, "cellml.strategy": "none"}
    entry = Entry(name=f"baseline {name}", version="", uri="", run_id="", source=name, tags=tags, aliases=())
    note = f"a baseline fitted in this run; its {milliseconds:.2g} ms an image include the fit"
    return Evaluated(entry, predictions, milliseconds, math.nan, len(test), (note,))


def _thumbnails(dataset: Dataset, manifest: Manifest) -> npt.NDArray:
    return dataset.pixels.resized(None, THUMBNAIL, manifest.rows).reshape(len(manifest), -1)

"""Simple opponents that a network must beat, fitted on the training and validation rows in the same run."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

from cellml.compare.collect import Evaluated
from cellml.data.cache import PixelCache
from cellml.data.external import External
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation.predictions import Predictions
from cellml.registry import Registry
from cellml.tracking.registry import Entry

Answer = Callable[[PixelCache, Manifest], npt.NDArray[np.float64]]
Baseline = Callable[[PixelCache, Manifest], Answer]
BASELINES: Registry[Baseline] = Registry("baseline")
THUMBNAIL = 16  # pixels a side


@BASELINES.register("thumbnail_forest")
def thumbnail_forest(pixels: PixelCache, train: Manifest) -> Answer:
    """Random forest of 300 trees on the pixels of 16 x 16 thumbnails.

    Args:
        pixels: the cache that the manifest's rows point into.
        train: rows to fit.

    Returns:
        What gives the probabilities (N, K) of other rows, 0 for a class without training rows.
    """
    forest = RandomForestClassifier(300, n_jobs=-1, random_state=0)
    known = train.where(~train.mixed)
    forest.fit(_thumbnails(pixels, known), known.targets)

    def answer(pixels: PixelCache, rows: Manifest) -> npt.NDArray[np.float64]:
        probabilities = np.zeros((len(rows), len(rows.classes)))
        probabilities[:, forest.classes_] = forest.predict_proba(_thumbnails(pixels, rows))
        return probabilities

    return answer


def evaluate(
    names: Sequence[str], dataset: Dataset, test: Manifest, externals: Sequence[External] = ()
) -> list[Evaluated]:
    """Fit baselines on training and validation rows and predict all test rows, as entries of the benchmark.

    Raises:
        UserError: an unknown baseline.
    """
    train = dataset.manifest.split("train", "val")
    return [_one(name, dataset, train, test, externals) for name in names]


def _one(name: str, dataset: Dataset, train: Manifest, test: Manifest, externals: Sequence[External]) -> Evaluated:
    answer = BASELINES[name](dataset.pixels, train)
    tags = {"cellml.backbone": name, "cellml.strategy": "none"}
    entry = Entry(name=f"baseline {name}", version="", uri="", run_id="", source=name, tags=tags, aliases=())
    note = "a baseline fitted in this run, its cost not measured"
    others = {one.name: Predictions.of(one.manifest, answer(one.pixels, one.manifest)) for one in externals}
    return Evaluated(entry, Predictions.of(test, answer(dataset.pixels, test)), warnings=(note,), external=others)


def _thumbnails(pixels: PixelCache, manifest: Manifest) -> npt.NDArray:
    return pixels.resized(None, THUMBNAIL, manifest.rows).reshape(len(manifest), -1)

"""Registered models, run anew on one pinned test set."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cellml.data.cache import PixelCache
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions
from cellml.models import ensemble
from cellml.tracking import registry

TIMED = 5  # calls that the median time is taken over, at least
TOLERANCE = 1e-3  # largest distance of a row of probabilities from the sum 1


@dataclass(frozen=True)
class Evaluated:
    """A registered model and what it said of the test rows.

    Attributes:
        entry: which model and version, and where it came from.
        predictions: of the test rows, in the manifest's order and with its classes.
        ms_per_image: median milliseconds an image, see `evaluate`.
        params_m: parameters, in millions; NaN where the model was registered without its weights.
        batch: most images of one call.
        warnings: what a reader must know of it, without its name.
        thresholds: its operating thresholds by class name, fitted on validation rows; empty where it has none.
    """

    entry: registry.Entry
    predictions: Predictions
    ms_per_image: float
    params_m: float
    batch: int
    warnings: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Model and version, as every table shows it: "cells.resnet18 v3"."""
        return f"{self.entry.name} v{self.entry.version}" if self.entry.version else self.entry.name

    @property
    def title(self) -> str:
        """Name and strategy, as figures show it, which have no column for the latter: "cells.resnet18 v3, balanced"."""
        return f"{self.name}, {self.entry.strategy}" if self.entry.version and self.entry.strategy else self.name


def evaluate(
    entries: Sequence[registry.Entry],
    dataset: Dataset,
    manifest: Manifest,
    batch: int = 64,
    progress: bool = False,
) -> list[Evaluated]:
    """Load registered models and run each on the pinned test rows.

    `ms_per_image` is the wall time of a call divided by its images, median over the calls of the largest size (at most
    `batch` images, fewer where image shapes differ) and at least `TIMED` of them, after one warm-up call; stacking
    the images is not counted. A version named twice is run once; entries that are one logged model share its run.

    Args:
        entries: the models, in any order.
        dataset: whose pixel cache the manifest's rows point into, and whose other rows the models may have seen.
        manifest: the N test rows.
        batch: most images of one call; images of one call have the same shape.
        progress: show a bar a model.

    Returns:
        One result a version, in the order given.

    Raises:
        UserError: nothing to compare, a model of other classes, dtype or number of channels, or one whose output is no
            probabilities.
    """
    if not entries or not len(manifest):
        raise UserError(
            f"Expected models and test images to compare, got {len(entries)} models and {len(manifest)} images; "
            "register models first, and give the data a test split"
        )
    unique = list({(entry.name, entry.version): entry for entry in entries}.values())
    done: dict[str, Evaluated] = {}
    results = []
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), disable=not progress) as bars:
        for entry in unique:
            if entry.source not in done:
                bar = bars.add_task(f"{entry.name} v{entry.version}", total=len(manifest))
                done[entry.source] = _one(entry, dataset, manifest, batch, partial(bars.advance, bar))
            results.append(dataclasses.replace(done[entry.source], entry=entry))
    return results


def _one(
    entry: registry.Entry, dataset: Dataset, manifest: Manifest, batch: int, advance: Callable[[int], None]
) -> Evaluated:
    predictor = registry.predictor(entry.uri)
    order = _order(predictor, manifest.classes, dataset.pixels)
    probabilities, milliseconds = _run(predictor, dataset.pixels, manifest.rows, batch, advance)
    if not (np.isfinite(probabilities).all() and np.allclose(probabilities.sum(axis=1), 1, atol=TOLERANCE)):
        raise UserError(f"Expected probabilities that sum to 1 from {entry.uri}, got others; leave it out of entries")
    predictions = Predictions(
        ids=manifest.ids,
        targets=manifest.known_targets,
        probabilities=probabilities[:, order],
        groups=manifest.groups,
        classes=manifest.classes,
        soft_targets=manifest.soft_targets,
    )
    digest, earlier = str(predictor.metadata.get("digest", "")), _earlier(predictor.metadata)
    warnings = tuple(_provenance(digest, earlier, dataset.manifest, manifest))
    thresholds = dict(predictor.metadata.get("thresholds") or {})
    return Evaluated(entry, predictions, milliseconds, _parameters(entry), batch, warnings, thresholds)


def _order(predictor: registry.Predictor, classes: tuple[str, ...], pixels: PixelCache) -> list[int]:
    """Columns of the model's output in the test set's order of classes, after checking that it takes these images."""
    uri = predictor.entry.uri
    if set(predictor.classes) != set(classes) or len(predictor.classes) != len(classes):
        raise UserError(
            f"Expected models of the classes {list(classes)}, got {uri} with {list(predictor.classes)}; "
            "compare models trained on the same classes"
        )
    if (predictor.dtype, predictor.channels) != (pixels.dtype, pixels.channels):
        raise UserError(
            f"Expected models of {pixels.channels}-channel {pixels.dtype} images, got {uri}, which takes "
            f"{predictor.channels}-channel {predictor.dtype} ones; leave it out of entries, or set data.channels"
        )
    return [predictor.classes.index(name) for name in classes]


def _run(
    predictor: registry.Predictor,
    pixels: PixelCache,
    rows: npt.NDArray[np.int64],
    batch: int,
    advance: Callable[[int], None],
) -> tuple[npt.NDArray[np.float64], float]:
    probabilities = np.empty((len(rows), len(predictor.classes)))
    largest: npt.NDArray = np.empty(0)
    seconds: dict[int, list[float]] = {}
    for positions in _batches(pixels, rows, batch):
        images = np.stack(pixels.images(rows[positions]))
        if not seconds:
            predictor.predict(images, batch_size=batch)
        probabilities[positions], elapsed = _timed(predictor, images)
        seconds.setdefault(len(images), []).append(elapsed)
        largest = images if len(images) >= len(largest) else largest
        advance(len(images))
    times = seconds[len(largest)]
    times += [_timed(predictor, largest)[1] for _ in range(TIMED - len(times))]
    return probabilities, 1000 * statistics.median(times) / len(largest)


def _timed(predictor: registry.Predictor, images: npt.NDArray) -> tuple[npt.NDArray, float]:
    start = time.perf_counter()
    probabilities = predictor.predict(images, batch_size=len(images))
    return probabilities, time.perf_counter() - start


def _batches(pixels: PixelCache, rows: npt.NDArray[np.int64], batch: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions among `rows`, at most `batch` at a time, of images of one shape."""
    shapes = np.array([pixels[int(row)].shape for row in rows])
    _, kind = np.unique(shapes, axis=0, return_inverse=True)
    for k in range(kind.max() + 1):
        alike = np.flatnonzero(kind.ravel() == k)
        yield from (alike[start : start + batch] for start in range(0, len(alike), batch))


def _parameters(entry: registry.Entry) -> float:
    """Parameters in millions, of the networks rebuilt from the weights beside the registered program."""
    try:
        folder = registry.weights_folder(entry.uri)
    except UserError:
        return math.nan
    return sum(p.numel() for p in ensemble.load(folder).parameters()) / 1e6


def _earlier(metadata: Mapping[str, Any]) -> list[str]:
    """Digests of the rows that a model's starting weights were trained on; of an ensemble those of its members'."""
    parts = [metadata, *metadata.get("members", ())]
    return list(dict.fromkeys(digest for part in parts for digest in part.get("earlier", ())))


def _provenance(digest: str, earlier: Sequence[str], everything: Manifest, test: Manifest) -> Iterator[str]:
    """Whether a model can have seen the test images in training, as far as its manifests' digests tell."""
    seen = everything.split("train", "val")
    known = {everything.digest, seen.digest, everything.split("train").digest}
    if foreign := [start for start in earlier if start not in known]:
        yield (
            f"its starting weights were trained on other rows than this data set's training rows (digest "
            f"{', '.join(start[:8] for start in foreign)}), whether they have seen test images cannot be told"
        )
    if digest not in known:
        yield (
            f"trained on other rows than this data set's training rows (digest {digest[:8] or 'unknown'}), whether it "
            "has seen test images cannot be told"
        )
        return
    shared = int(np.isin(test.ids, seen.ids).sum())
    pixels = test.table["pixels"]
    twins = int((pixels.isin(seen.table["pixels"]) & (pixels != "")).sum()) - shared
    if shared:
        yield f"{shared} of the test images are among its training rows"
    if twins > 0:
        yield f"{twins} of the test images have the same pixels as training rows"

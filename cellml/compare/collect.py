"""Registered models, run anew on one pinned test set and on external ones."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cellml.compare import cost, members
from cellml.compare.cost import Cost
from cellml.data.cache import PixelCache
from cellml.data.external import External
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.data.timelines import timelines
from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions
from cellml.models import ensemble
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.sequences import learn
from cellml.sequences.decode import Decoder
from cellml.tracking import registry
from cellml.training import device as devices
from cellml.training.predict import same_kind

BATCH = max(cost.BATCHES)  # most images of one call
TOLERANCE = 1e-3  # largest distance of a row of probabilities from the sum 1


@dataclass(frozen=True)
class Evaluated:
    """A registered model and what it said of the test rows.

    Attributes:
        entry: which model and version, and where it came from.
        predictions: of the test rows, in the manifest's order and with its classes.
        cost: parameters, operations, time and memory.
        warnings: what a reader must know of it, without its name.
        thresholds: its operating thresholds by class name, fitted on validation rows; empty where it has none.
        external: of the rows of each external test set, by its name.
        members: of each network of an ensemble, by test set, see `members.predictions`.
        decoded: of the test rows, decoded as sequences; None where they are none or the model has no decoder.
        settings: what sets it apart from others of its backbone and strategy, see `cells.told_apart`.
    """

    entry: registry.Entry
    predictions: Predictions
    cost: Cost = field(default_factory=Cost)
    warnings: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    external: Mapping[str, Predictions] = field(default_factory=dict)
    members: Mapping[str, Sequence[Predictions]] = field(default_factory=dict)
    decoded: Predictions | None = None
    settings: str = ""

    @property
    def name(self) -> str:
        """Model and version, as every table shows it: "cells.resnet18 v3"."""
        return f"{self.entry.name} v{self.entry.version}" if self.entry.version else self.entry.name

    @property
    def title(self) -> str:
        """Name, strategy and settings, as figures show it, which have no column for the latter two.

        Such as "cells.resnet18 v3, balanced".
        """
        told = [self.entry.strategy, self.settings] if self.entry.version else []
        return ", ".join([self.name, *filter(None, told)])


def evaluate(
    entries: Sequence[registry.Entry],
    dataset: Dataset,
    manifest: Manifest,
    externals: Sequence[External] = (),
    device: str = "auto",
    progress: bool = False,
) -> list[Evaluated]:
    """Load registered models and run each on the pinned test rows and on external sets.

    A version named twice is run once; entries that are one logged model share its run. `cost.measure` says how time is
    taken: of test images of the commonest shape, repeated where they are few, stacked before.

    Args:
        entries: the models, in any order.
        dataset: whose pixel cache the manifest's rows point into, and whose other rows the models may have seen.
        manifest: the N test rows.
        externals: further test sets.
        device: auto, cpu, cuda or mps, where costs are measured; the models themselves run on the CPU.
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
    on = devices.pick(device)
    unique = list({(entry.name, entry.version): entry for entry in entries}.values())
    total = len(manifest) + sum(len(one.manifest) for one in externals)
    done: dict[str, Evaluated] = {}
    results = []
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), disable=not progress) as bars:
        for entry in unique:
            if entry.source not in done:
                bar = bars.add_task(f"{entry.name} v{entry.version}", total=total)
                done[entry.source] = _one(entry, dataset, manifest, externals, on, partial(bars.advance, bar))
            results.append(dataclasses.replace(done[entry.source], entry=entry))
    return results


def _one(
    entry: registry.Entry,
    dataset: Dataset,
    manifest: Manifest,
    externals: Sequence[External],
    on: torch.device,
    advance: Callable[[int], None],
) -> Evaluated:
    predictor = registry.predictor(entry.uri)
    order = _order(predictor, manifest.classes, dataset.pixels)
    images = _sample(dataset.pixels, manifest.rows)
    call = (lambda one: predictor.predict(one[None])) if predictor.sequential else predictor.predict
    call(images)  # a program's first call is slower
    seconds: dict[tuple[int, ...], list[float]] = {}
    found = []
    for pixels, rows in ((dataset.pixels, manifest), *((one.pixels, one.manifest) for one in externals)):
        probabilities = _run(predictor, pixels, rows, advance, seconds)
        found.append(Predictions.of(rows, probabilities[:, order]))
    module = _module(entry)
    timed = _OneSequence(module) if module is not None and predictor.sequential else module
    measured = cost.measure(call, timed, images, on, seconds.get(images.shape, ()))
    digest, earlier = str(predictor.metadata.get("digest", "")), _earlier(predictor.metadata)
    decoded, undecoded = _decoded(found[0], predictor.metadata)
    warnings = (*_provenance(digest, earlier, dataset.manifest, manifest), *undecoded)
    thresholds = dict(predictor.metadata.get("thresholds") or {})
    others = {one.name: predictions for one, predictions in zip(externals, found[1:], strict=True)}
    alone = members.predictions(module, dataset, manifest, externals, on.type)
    return Evaluated(entry, found[0], measured, warnings, thresholds, others, alone, decoded)


def _decoded(said: Predictions, metadata: Mapping[str, Any]) -> tuple[Predictions | None, list[str]]:
    """What a model's decoder makes of its predictions, and what a reader must know where it makes nothing."""
    if said.sequences is None or not metadata.get("decoder"):
        return None, []
    try:
        return learn.decoded(said, Decoder.from_dict(metadata["decoder"])), []
    except UserError as error:
        return None, [f"not decoded: {error}"]


class _OneSequence(torch.nn.Module):
    """A sequence model as a classifier of images, N of them as one sequence of N frames: its cost is by the frame."""

    def __init__(self, model: Classifier | Ensemble) -> None:
        super().__init__()
        self.model, self.spec = model, model.spec

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images[None])[0]


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
    manifest: Manifest,
    advance: Callable[[int], None],
    seconds: dict[tuple[int, ...], list[float]],
) -> npt.NDArray[np.float64]:
    """Probabilities (N, K); adds the seconds of each call to those of its shape."""
    if predictor.sequential and manifest.sequences is None:
        raise UserError(
            f"Expected models of images for images by themselves, got {predictor.entry.uri}, which takes sequences; "
            "leave it out of entries"
        )
    rows = manifest.rows
    probabilities = np.empty((len(rows), len(predictor.classes)))
    batches = _batches(pixels, rows, BATCH)
    if predictor.sequential:
        batches = same_kind(pixels.shapes[rows], timelines(manifest), BATCH)
    for positions in batches:
        images = np.stack(pixels.images(rows[positions].ravel()))
        images = images.reshape(*positions.shape, *images.shape[1:])
        start = time.perf_counter()
        probabilities[positions] = predictor.predict(images, batch_size=BATCH)
        seconds.setdefault(images.shape, []).append(time.perf_counter() - start)
        advance(positions.size)
    if not (np.isfinite(probabilities).all() and np.allclose(probabilities.sum(axis=1), 1, atol=TOLERANCE)):
        uri = predictor.entry.uri
        raise UserError(f"Expected probabilities that sum to 1 from {uri}, got others; leave it out of entries")
    return probabilities


def _sample(pixels: PixelCache, rows: npt.NDArray[np.int64]) -> npt.NDArray:
    """BATCH images of the commonest shape, repeated where there are fewer."""
    kind, _ = _kinds(pixels, rows)
    alike = np.flatnonzero(kind == np.bincount(kind).argmax())
    return np.stack(pixels.images(rows[np.resize(alike, BATCH)]))


def _batches(pixels: PixelCache, rows: npt.NDArray[np.int64], batch: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions among `rows`, at most `batch` at a time, of images of one shape."""
    kind, count = _kinds(pixels, rows)
    for k in range(count):
        alike = np.flatnonzero(kind == k)
        yield from (alike[start : start + batch] for start in range(0, len(alike), batch))


def _kinds(pixels: PixelCache, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """Which of the shapes each row's image has, (N,), and how many shapes there are."""
    shapes = np.array([pixels[int(row)].shape for row in rows])
    unique, kind = np.unique(shapes, axis=0, return_inverse=True)
    return kind.ravel(), len(unique)


def _module(entry: registry.Entry) -> Classifier | Ensemble | None:
    """The model rebuilt from the weights beside the registered program, or None where they are gone."""
    try:
        return ensemble.load(registry.weights_folder(entry.uri))
    except UserError:
        return None


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

"""Predictions by the whole path, decoded pixels to probabilities, as the registered model makes them."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track

from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.data.timelines import Timeline, timelines
from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.models.views import COUNTS
from cellml.training import device as devices

_PIXELS = 1 << 24  # source pixels at once, whatever the batch size: 200 MB as float32 RGB


def predict(
    classifier: Classifier | Ensemble,
    dataset: Dataset,
    manifest: Manifest,
    *,
    batch_size: int = 64,
    device: str = "auto",
    progress: bool = False,
) -> Predictions:
    """Classify images of any sizes, or whole sequences of them, in full precision.

    Args:
        classifier: used in evaluation mode; it comes back where, and in the mode that, it was.
        dataset: the images behind the manifest.
        manifest: N rows.
        batch_size: images of one shape at once; fewer where they are large, and by the views where `tta` averages.
        device: auto, cpu, cuda or mps.
        progress: show a bar.

    Raises:
        UserError: the classifier's classes, channels or pixel type are not the data's, it takes sequences and the data
            have none, or the device is not there.
    """
    _check(classifier, dataset, manifest)
    on, training = devices.pick(device), classifier.training
    before = next(classifier.parameters()).device
    rows = manifest.rows
    found = torch.zeros(len(manifest), len(manifest.classes))
    views = COUNTS[classifier.spec.tta]
    at_once = max(1, batch_size // views)
    if classifier.spec.sequence is None:
        groups = list(same_shape(dataset.pixels.shapes[rows], at_once))
    else:
        groups = list(same_kind(dataset.pixels.shapes[rows], timelines(manifest), at_once))
    classifier.to(on).eval()
    try:
        shown = track(groups, "predicting", console=Console(stderr=True), transient=True, disable=not progress)
        with torch.inference_mode():
            for chosen in shown:
                images = np.stack(dataset.pixels.images(rows[chosen].ravel()))
                given = torch.from_numpy(images.reshape(*chosen.shape, *images.shape[1:]))
                found[torch.from_numpy(chosen)] = classifier(given.to(on)).float().cpu()
    finally:
        classifier.to(before).train(training)
    return Predictions.of(manifest, found.numpy())


def same_shape(shapes: npt.NDArray[np.int64], batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions in batches of equal shape (H, W, C), small enough to be held at once."""
    if not len(shapes):
        return
    kinds, kind = np.unique(shapes, axis=0, return_inverse=True)
    for k, (height, width, _) in enumerate(kinds):
        members = np.flatnonzero(kind.ravel() == k)
        at_once = max(1, min(batch_size, _PIXELS // int(height * width)))
        yield from (members[i : i + at_once] for i in range(0, len(members), at_once))


def same_kind(
    shapes: npt.NDArray[np.int64], sequences: Sequence[Timeline], frames: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Positions (N, T) of sequences of equal length and shape of frames, about `frames` frames or one sequence each."""
    kinds: dict[tuple[int, ...], list[Timeline]] = {}
    for one in sequences:
        kinds.setdefault((len(one), *shapes[one[0]].tolist()), []).append(one)
    for (length, height, width, _), alike in kinds.items():
        at_once = max(1, min(frames, _PIXELS // (height * width)) // length)
        yield from (np.stack(alike[i : i + at_once]) for i in range(0, len(alike), at_once))


def _check(classifier: Classifier | Ensemble, dataset: Dataset, manifest: Manifest) -> None:
    spec, pixels = classifier.spec, dataset.pixels
    if spec.sequence is not None and manifest.sequences is None:
        raise UserError(
            "Expected frames of movies for a model of sequences, got images by themselves; choose another model, or a "
            "data.source that gives sequences"
        )
    if spec.classes != manifest.classes:
        raise UserError(
            f"Expected images of the classes {list(spec.classes)} that the model knows, got {list(manifest.classes)}; "
            "set data.classes as it was for training"
        )
    if spec.channels != pixels.channels or spec.dtype != pixels.dtype:
        raise UserError(
            f"Expected {spec.channels}-channel {spec.dtype} images as in training, got {pixels.channels}-channel "
            f"{pixels.dtype}; set data.channels or convert the images"
        )

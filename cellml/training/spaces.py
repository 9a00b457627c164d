"""Where sampling strategies look for neighbours: thumbnails of the training images, or embeddings of them."""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from cellml.config import Experiment
from cellml.data import splits
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.models import embeddings
from cellml.models.classifier import Classifier
from cellml.training import arrays

Space = Callable[[], npt.NDArray[np.floating]]
Trainer = Callable[[Manifest, Manifest], Classifier]  # fits on the first rows, judged on the second
FOLDS = 3


def spaces(
    experiment: Experiment,
    dataset: Dataset,
    train: Manifest,
    *,
    network: Callable[[], Classifier] | None,
    trainer: Trainer,
) -> Mapping[str, Space]:
    """What `space:` of a strategy may name, each computed when it is asked for.

    `pixels` are thumbnails of side `sampling.pixels`. `embeddings` are those of `network`; with `sampling.embeddings:
    out_of_fold` those of networks that were trained on the other folds, where neighbours are sought within a fold,
    since the axes of two networks have nothing in common. Without either there are none.

    Args:
        experiment: its `input` and `sampling` sections count.
        dataset: the images behind the rows.
        train: the N training rows.
        network: makes the frozen network to embed with, or None.
        trainer: fits a network without resampling, for `out_of_fold`.

    Returns:
        name -> function giving (N, D) float32.
    """
    found: dict[str, Space] = {"pixels": lambda: _thumbnails(experiment, dataset, train)}
    if experiment.sampling.embeddings == "out_of_fold":
        found["embeddings"] = lambda: _out_of_fold(experiment, dataset, train, trainer)
    elif network is not None:
        found["embeddings"] = lambda: _embedded(network(), dataset, dataset.manifest, train)
    return found


def _thumbnails(experiment: Experiment, dataset: Dataset, train: Manifest) -> npt.NDArray[np.float32]:
    """Flattened thumbnails, each channel scaled to 0..1, (N, side * side * C)."""
    small = dataset.pixels.resized(experiment.input.crop, experiment.sampling.pixels, train.rows)
    scale = arrays.scale(small)
    low, high = np.array(scale.low, dtype=np.float32), np.array(scale.high, dtype=np.float32)
    return ((small.astype(np.float32) - low) / (high - low)).reshape(len(train), -1)


def _embedded(network: Classifier, dataset: Dataset, among: Manifest, rows: Manifest) -> npt.NDArray[np.float32]:
    """Embeddings of some of the rows that are embedded, and kept, together."""
    prepared = dataset.pixels.resized(network.spec.crop, network.spec.size, among.rows)
    folder = dataset.pixels.folder / "embeddings"
    return embeddings.embed(network, prepared, digest=among.digest, cache_dir=folder)[among.positions(rows)]


def _out_of_fold(
    experiment: Experiment, dataset: Dataset, train: Manifest, trainer: Trainer
) -> npt.NDArray[np.float32]:
    name = hashlib.sha256(f"{experiment.fingerprint()} {train.digest}".encode()).hexdigest()[:32]
    file = dataset.pixels.folder / "embeddings" / f"out-of-fold-{name}.npy"

    def compute() -> npt.NDArray[np.float32]:
        groups = splits.joined(train.groups, train.table["pixels"])
        fold = splits.kfold(train.strata, groups, FOLDS, experiment.split.seed)
        held = [train.where(fold == k) for k in range(FOLDS)]
        nets = [trainer(train.where(fold != k), held[k]) for k in range(FOLDS)]
        return _apart([_embedded(net, dataset, rows, rows) for net, rows in zip(nets, held, strict=True)], fold)

    return embeddings.kept(file, len(train), compute)


def _apart(parts: list[npt.NDArray[np.float32]], fold: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Embeddings of all rows, folds further from each other than any two rows of one."""
    reach = max(float(np.linalg.norm(part - part.mean(axis=0), axis=1).max()) for part in parts)
    width = parts[0].shape[1]
    result = np.zeros((len(fold), width + len(parts)), dtype=np.float32)
    for k, part in enumerate(parts):
        result[fold == k, :width] = part - part.mean(axis=0)
        result[fold == k, width + k] = 4 * reach + 1
    return result

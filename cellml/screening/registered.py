"""Registered models, as a screen asks them."""

import numpy as np
import numpy.typing as npt

from cellml.data.external import TRAINED
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.models import embeddings
from cellml.models import ensemble as models
from cellml.models.classifier import Classifier
from cellml.screening.run import Model, Show
from cellml.tracking import registry, runs
from cellml.training.predict import same_shape


def model(uri: str, show: Show) -> Model:
    """The registered model of images behind a URI.

    Args:
        uri: models:/NAME@champion, say.
        show: progress.

    Raises:
        UserError: no such model, or one of sequences.
    """
    predictor = registry.predictor(uri)
    if predictor.sequential:
        raise UserError(f"Expected a model of images for a screen, got a model of sequences, {uri}; choose another")

    def check(dataset: Dataset) -> None:
        pixels = dataset.pixels
        if (pixels.channels, pixels.dtype) != (predictor.channels, predictor.dtype):
            raise UserError(
                f"Expected {predictor.channels}-channel {predictor.dtype} images for {uri}, got "
                f"{pixels.channels}-channel {pixels.dtype} ones; convert them, or set data.channels as in training"
            )

    def probabilities(dataset: Dataset, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        found = np.zeros((len(rows), len(predictor.classes)), dtype=np.float32)
        batches = list(same_shape(dataset.pixels.shapes[rows], 64))
        for k in show(range(len(batches)), "asking the model"):
            found[batches[k]] = predictor.predict(np.stack(dataset.pixels.images(rows[batches[k]])))
        return found

    def embed(dataset: Dataset, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        network = models.load(registry.weights_folder(uri))
        if not isinstance(network, Classifier):
            raise UserError(
                f"Expected a single network for score=discriminant, got the ensemble {uri}; use score=logit"
            )
        return embeddings.compute(network, dataset.pixels.resized(network.spec.crop, network.spec.size, rows))

    def learned() -> frozenset[str] | None:
        found = runs.manifest_of(predictor.entry.run_id)
        return None if found is None else frozenset(found.split(*TRAINED).table["pixels"])

    return Model(uri.removeprefix("models:/"), predictor.classes, check, probabilities, embed, learned)

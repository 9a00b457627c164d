"""Registered models, as a movie asks them."""

from cellml.models import ensemble as models
from cellml.movies.run import Model
from cellml.tracking import registry


def model(uri: str) -> Model:
    """The registered model behind a URI, one of images or one of sequences.

    Raises:
        UserError: no such model.
    """
    predictor = registry.predictor(uri)
    whole = predictor.metadata.get("sequence") is not None
    return Model(
        name=uri.removeprefix("models:/"),
        classes=predictor.classes,
        channels=predictor.channels,
        dtype=predictor.dtype,
        crop=predictor.metadata.get("crop"),
        stages=lambda crops: predictor.predict(crops[None])[0] if whole else predictor.predict(crops),
        whole=whole,
        rebuilt=lambda: models.load(registry.weights_folder(uri)),
    )

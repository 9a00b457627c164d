"""Registered models, as a movie asks them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cellml.models import ensemble as models
from cellml.movies.run import Decode, Model
from cellml.sequences.decode import Decoder, Misfit, decode
from cellml.tracking import registry


def model(uri: str) -> Model:
    """The registered model behind a URI, one of images or one of sequences.

    Raises:
        UserError: no such model.
    """
    predictor = registry.predictor(uri)
    whole = predictor.sequential
    return Model(
        name=uri.removeprefix("models:/"),
        classes=predictor.classes,
        channels=predictor.channels,
        dtype=predictor.dtype,
        crop=predictor.metadata.get("crop"),
        window=predictor.metadata.get("window"),
        stages=lambda crops: predictor.predict(crops[None])[0] if whole else predictor.predict(crops),
        whole=whole,
        decode=_decode(predictor.metadata),
        rebuilt=lambda: models.load(registry.weights_folder(uri)),
    )


def _decode(metadata: Mapping[str, Any]) -> Decode | None:
    if not metadata.get("decoder"):
        return None
    decoder = Decoder.from_dict(metadata["decoder"])

    def stages(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.int64] | None:
        try:
            return decode(logs, decoder)
        except Misfit:
            return None

    return stages

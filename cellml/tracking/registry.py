"""Registered models: putting them in, loading them. Finding them is in `catalog`.

Names here are registered names, as `names.model_name` makes them; the true names stand in tags and metadata.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.tracking import courier, export, patience
from cellml.tracking.catalog import (
    BACKBONE,
    CHAMPION,
    EXPERIMENT,
    PRETRAINED,
    STRATEGY,
    Entry,
    entries,
    resolve,
    versions,
)
from cellml.tracking.run import Run, as_text

__all__ = [
    "BACKBONE", "CHAMPION", "DATA", "EXPERIMENT", "MONITOR", "PRETRAINED", "SCORE", "STRATEGY", "Entry", "Predictor",
    "best", "describe_models", "entries", "predictor", "register", "resolve", "set_alias", "versions", "weights_folder",
]  # fmt: skip

DESCRIPTION = 5000  # characters that a database keeps of a description or of a tag
NAME = 256
MONITOR, SCORE, DATA = "cellml.monitor", "cellml.validation_score", "cellml.dataset_digest"  # tags


class Predictor:
    """A registered model, loaded from its program alone.

    Attributes:
        entry: which version.
        metadata: what was logged with it.
        classes: the K class names.
        dtype: of the images it takes, uint8 or uint16.
        channels: C of the images it takes.
        sequential: it takes sequences (N, T, H, W, C) and gives (N, T, K).
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._program = export.load_program(entry.uri)
        self.metadata: dict[str, Any] = self._program.metadata.metadata or {}
        self.classes: tuple[str, ...] = tuple(self.metadata["classes"])
        self.dtype: str = self.metadata["dtype"]
        self.channels: int = self.metadata["channels"]
        self.sequential: bool = self.metadata.get("sequence") is not None

    def check(self, image: npt.NDArray, name: str) -> None:
        """Refuse an image (H, W, C) that the model does not take.

        Raises:
            UserError: another dtype or number of channels; names the image.
        """
        if image.shape[-1] != self.channels or str(image.dtype) != self.dtype:
            raise UserError(
                f"Expected {self.channels}-channel {self.dtype} images for {self.entry.uri}, got {name} with "
                f"{image.shape[-1]} channels of {image.dtype}; choose a model trained on such images"
            )

    def predict(self, images: npt.NDArray, batch_size: int = 64) -> npt.NDArray[np.float32]:
        """Probabilities (N, K) of images (N, H, W, C), N >= 1; of sequences (N, T, H, W, C) those of each frame.

        Raises:
            UserError: images of another dtype or number of channels than the model was trained on, or sequences for a
                model of images and the other way round.
        """
        if images.ndim != (5 if self.sequential else 4):
            wanted = "sequences (N, T, H, W" if self.sequential else "images (N, H, W"
            raise UserError(f"Expected {wanted}, {self.channels}) of {self.dtype}, got shape {images.shape}")
        self.check(images[0], "images")
        starts = range(0, len(images), batch_size)
        batches = [np.ascontiguousarray(images[start : start + batch_size]) for start in starts]
        return np.concatenate([np.asarray(self._program.predict(batch), dtype=np.float32) for batch in batches])


def register(
    model: str,
    name: str,
    tags: Mapping[str, Any] | None = None,
    alias: str | None = None,
    description: str | None = None,
    once: str | None = None,
) -> str:
    """Make a logged model a new version of a registered model; nothing is copied.

    Args:
        model: `models:/m-...` or the id alone, as `export.log_classifier` returned it.
        name: registered name; `names.model_name` makes one.
        tags: of the version: `cellml.experiment`, `cellml.backbone` and `cellml.strategy` are what `entries` looks at.
        alias: to point to the new version.
        description: of the version, Markdown.
        once: one of the tags' keys: at most one version carries a given value of it. Of two processes that register
            at the same time the one that got the later number takes its version back.

    Returns:
        The version; with `once`, the one that stands.

    Raises:
        UserError: a name that is too long.
    """
    if len(name) > NAME:
        raise UserError(
            f"Expected a model name of at most {NAME} characters, got {len(name)}: {name[:40]}...; shorten it"
        )
    client = courier.client()
    logged = client.get_logged_model(model.removeprefix("models:/"))
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    token = patience.token()
    given = {key: as_text(value, DESCRIPTION) for key, value in (tags or {}).items()}

    def make() -> str:
        version = MlflowClient().create_model_version(
            name,
            f"models:/{logged.model_id}",
            logged.source_run_id,
            given | token,
            description=None if description is None else _cut(description),
            model_id=logged.model_id,
        )
        return str(version.version)

    def find() -> str | None:
        return next((entry.version for entry in versions(name, token)), None)

    number = patience.once(make, find)
    if once:
        first = versions(name, {once: given[once]})[0].version
        if first != number:
            client.delete_model_version(name, number)
            number = first
    if alias:
        set_alias(name, alias, number)
    return number


def set_alias(name: str, alias: str, version: str) -> None:
    """Point an alias of a registered model to one of its versions."""
    courier.client().set_registered_model_alias(name, alias, version)


def best(name: str, tags: Mapping[str, str]) -> str:
    """The version with the best validation score of those with the given metric and data; of equals the newest.

    Args:
        name: of the registered model.
        tags: of one of its versions, `MONITOR` and `DATA` among them.
    """
    rivals = versions(name, {key: tags[key] for key in (MONITOR, DATA)})
    sign = 1 if metrics.higher_is_better(tags[MONITOR]) else -1
    return max(rivals, key=lambda entry: (sign * float(entry.tags[SCORE]), int(entry.version))).version


def describe_models(names: Iterable[str], markdown: str) -> None:
    """Set the text that registered models' pages open with; what a database does not keep is cut at a line."""
    for name in names:
        courier.client().update_registered_model(name, _cut(markdown))


def predictor(uri: str) -> Predictor:
    """Load the registered model behind a URI.

    Raises:
        UserError: as `resolve` does.
    """
    return Predictor(resolve(uri))


def weights_folder(uri: str) -> Path:
    """Local folder with `weights.safetensors` and `model.json` of the run behind a registered model.

    Raises:
        UserError: as `resolve` does, or the run has no `weights/`.
    """
    entry = resolve(uri)
    run = Run(entry.run_id, "")
    try:
        missing = not entry.run_id or export.WEIGHTS not in run.artifact_names()
    except MlflowException:
        missing = True
    if missing:
        raise UserError(
            f"Expected the artifacts {export.WEIGHTS}/ on the run {entry.run_id or '(none)'} behind {uri}, found none; "
            "register a model that CellML trained"
        )
    return run.download(export.WEIGHTS)


def _cut(markdown: str) -> str:
    if len(markdown) <= DESCRIPTION:
        return markdown
    note = "\n\n(cut here)"
    return markdown[: DESCRIPTION - len(note)].rsplit("\n", 1)[0] + note

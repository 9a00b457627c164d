"""One MLflow run: what a trial, a sweep or a comparison writes into it."""

import json
import re
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import copy2, copytree
from typing import TYPE_CHECKING, Any

import mlflow.artifacts
from mlflow.data.pandas_dataset import from_pandas
from mlflow.tracking.multimedia import compress_image_size
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_LOGGED_IMAGES, MLFLOW_RUN_NOTE
from mlflow.utils.uri import is_local_uri
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH
from PIL import Image

from cellml.data.manifest import Manifest
from cellml.secrets import hidden
from cellml.tracking import courier, entries, environment, patience
from cellml.tracking.names import metric_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Run:
    """A run by its ids: holds no connection, so that it can be sent to a worker process.

    Artifact paths are relative to the run's artifact folder, with `/` between folders.
    """

    id: str
    experiment_id: str

    def metrics(self, values: Mapping[str, float], step: int | None = None, prefix: str | None = None) -> None:
        """Log metrics, a thousand in one request; NaN is kept, an infinity becomes the largest double.

        Args:
            values: metric key -> value; with `prefix`, name -> value of `metric_key(prefix, name)`.
            step: the epoch, say.
            prefix: `val`, `test` or `train`.
        """
        named = {metric_key(prefix, name) if prefix else name: value for name, value in values.items()}
        courier.put(self.id, *entries.metrics(named, step or 0))

    def params(self, values: Mapping[str, Any]) -> None:
        """Log params that the run does not have yet (`mlflow run` logs its `-P` values); lists and dicts as JSON."""
        texts = {key: as_text(value, MAX_PARAM_VAL_LENGTH) for key, value in values.items()}
        courier.put(self.id, *entries.params(texts))

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags, replacing those of the same key."""
        texts = {key: as_text(value, MAX_TAG_VAL_LENGTH) for key, value in values.items()}
        courier.put(self.id, *entries.tags(texts))

    def description(self, markdown: str) -> None:
        """Set the text that the run's page opens with; what goes beyond a tag's length is cut at a line."""
        if len(markdown) > MAX_TAG_VAL_LENGTH:
            note = "\n\n(cut here)"
            markdown = markdown[: MAX_TAG_VAL_LENGTH - len(note)].rsplit("\n", 1)[0] + note
        self.tags({MLFLOW_RUN_NOTE: markdown})

    def figure(self, figure: "Figure", path: str) -> None:
        """Store a matplotlib figure as an image; its name's ending gives the format."""
        with self.artifacts() as folder:
            figure.savefig(_place(folder, path), bbox_inches="tight")

    def image(self, path: str | Path, key: str, step: int = 0) -> None:
        """Log a picture that the UI shows side by side for several runs.

        Args:
            path: of a PNG file.
            key: what it shows, the same for every run; characters that MLflow refuses here become `_`.
            step: the epoch, say.
        """
        key = re.sub(r"[^a-zA-Z0-9_\-. ]", "_", key.replace("/", "~"))
        # The names by which the UI finds them; `MlflowClient.log_image` would wait for a server.
        name = f"images/{key}+step+{step}+timestamp+{entries.milliseconds()}+{uuid.uuid4()}"
        with Image.open(path) as picture, self.artifacts() as folder:
            image = picture.convert("RGB")
            image.save(_place(folder, f"{name}.png"))
            compress_image_size(image).save(folder / f"{name}+compressed.webp")
        self.tags({MLFLOW_LOGGED_IMAGES: True})

    def text(self, text: str, path: str) -> None:
        """Store a text file, without secrets."""
        with self.artifacts() as folder:
            _place(folder, path).write_text(hidden(text), encoding="utf-8")

    def json(self, value: Any, path: str) -> None:
        """Store a JSON file."""
        self.text(json.dumps(value, indent=2, default=str), path)

    def file(self, local: str | Path, folder: str | None = None) -> None:
        """Store a local file or folder, under an artifact folder if given."""
        with self.artifacts() as top:
            target = _place(top, f"{folder}/{Path(local).name}" if folder else Path(local).name)
            copytree(local, target) if Path(local).is_dir() else copy2(local, target)

    @contextmanager
    def artifacts(self) -> Iterator[Path]:
        """A temporary folder whose files become the run's artifacts, at once, when the block ends without an error."""
        with courier.place(self.id) as folder:
            yield folder

    def download(self, path: str, folder: str | Path | None = None) -> Path:
        """Local path of an artifact.

        Args:
            path: of a file or folder.
            folder: where to put it; without one, a local store's own file is given, a remote one's goes to a temporary
                folder that lives as long as the process.
        """
        uri = f"{self.artifact_uri}/{path}"
        if folder is None and not is_local_uri(uri):
            folder = tempfile.mkdtemp(dir=_scratch().name)
        target = None if folder is None else str(folder)
        return Path(patience.patiently(lambda: mlflow.artifacts.download_artifacts(uri, dst_path=target)))

    def artifact_names(self, folder: str | None = None) -> list[str]:
        """Paths of the artifacts in a folder, not below it."""
        return [item.path for item in courier.client().list_artifacts(self.id, folder)]

    def dataset(self, manifest: Manifest, context: str, name: str, source: str | None = None) -> None:
        """Record a manifest as an MLflow dataset input: its digest, columns and size, not its rows.

        Args:
            manifest: what was used.
            context: `training`, `validation` or `testing`.
            name: the data set's name on the run's page.
            source: folder or address of the images.
        """
        table = manifest.table[["id", "label", "group", "split"]].astype(object)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns of its own two classes for a local folder
            dataset = from_pandas(table, source=source or "", targets="label", name=name, digest=manifest.digest)
        entity = dataset._to_mlflow_entity()
        courier.put(self.id, entries.dataset(entity, {MLFLOW_DATASET_CONTEXT: context}))

    @property
    def artifact_uri(self) -> str:
        """Where the run's artifacts lie."""
        return courier.client().get_run(self.id).info.artifact_uri

    def url(self) -> str | None:
        """The run's page, or None where no tracking server serves one."""
        address = environment.server()
        return f"{address}/#/experiments/{self.experiment_id}/runs/{self.id}" if address else None


def as_text(value: Any, limit: int) -> str:
    """A value as MLflow stores it, cut to its limit: lists and dicts as JSON, the rest as `str` has it; no secrets."""
    if isinstance(value, list | tuple | dict):
        value = json.dumps(value, default=_plain)
    return hidden(str(value))[:limit]


@cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="cellml-downloads-")


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)


def _place(folder: Path, path: str) -> Path:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target

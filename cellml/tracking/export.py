"""A classifier or an ensemble as one `torch.export` program, which loads with only mlflow and torch."""

import copy
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cellml.vision

# isort: split
import mlflow
import mlflow.pytorch
import numpy as np
import numpy.typing as npt
import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import PyFuncModel, load_model
from mlflow.types import Schema, TensorSpec

import cellml
from cellml.data.prepare import Dataset
from cellml.data.timelines import timelines
from cellml.errors import UserError
from cellml.models import ensemble as models
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.secrets import hidden
from cellml.tracking import courier, environment, patience
from cellml.tracking.run import Run

WEIGHTS = "weights"
NO_PICKLE = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
TOLERANCE = 1e-4  # largest difference of a probability between the program and the eager model
EXAMPLE = 32  # side in pixels of the stored example, at most
FRAMES = 3  # of the stored example of a sequence model: of one frame, a program would be made for one alone
LENGTHS = (1, 2, 5, 40)  # of the sequences that a program is checked with
_logger = logging.getLogger(__name__)


class ExportError(UserError):
    """A model that cannot be exported, or whose program gives other probabilities."""


def log_classifier(
    run: Run,
    classifier: Classifier | Ensemble,
    example: npt.NDArray[np.integer],
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """Export a classifier and log it as a model of a run, after checking the program against the eager model.

    The program takes images (N, H, W, C) of any N, H and W and gives probabilities (N, K); that of a sequence model
    takes sequences (N, T, H, W, C), of any T too, and gives (N, T, K). An ensemble is one program.
    `weights/`, from which the eager model is rebuilt, is logged on the run where it is missing.

    Args:
        run: the run that trained it.
        classifier: a copy of it is exported, on the CPU.
        example: images (N >= 2, H, W, C), or sequences (N >= 2, T, H, W, C), of the dtype it was trained on; a part of
            two of them is stored as an example.
        metadata: JSON values beside those of the classifier's `spec`; given back by `pyfunc.load_model(uri).metadata`.

    Returns:
        The model's URI, `models:/m-...`.

    Raises:
        ExportError: a backbone cannot be exported, or the program's probabilities differ.
    """
    spec = classifier.spec
    rank = 4 if spec.sequence is None else 5
    fits = example.ndim == rank and len(example) > 1 and example.shape[-1] == spec.channels
    if not fits or str(example.dtype) != spec.dtype:
        raise ValueError(
            f"expected rank {rank}, two or more, {spec.channels} channels of {spec.dtype}, got {example.shape} "
            f"{example.dtype}"
        )
    eager = copy.deepcopy(classifier).to("cpu").eval()
    known = {**spec.to_dict(), **(metadata or {}), "cellml_version": cellml.__version__}
    model = Model(run_id=run.id, metadata=json.loads(json.dumps(known, default=_plain)))
    with tempfile.TemporaryDirectory(prefix="cellml-model-") as name:
        folder = Path(name) / "model"
        _save(model, eager, example, folder)
        _verify(eager, example, folder)
        uri = _log(run, model, folder)
    if WEIGHTS not in run.artifact_names():
        log_weights(run, eager)
    return uri


def log_weights(run: Run, classifier: Classifier | Ensemble) -> None:
    """Log `weights/`: weights.safetensors and model.json, or ensemble.json and a folder with these two a member."""
    with run.artifacts() as folder:
        models.save(classifier, folder / WEIGHTS)


def example_of(dataset: Dataset) -> npt.NDArray[np.integer]:
    """Two training images, cut to a common size (2, H, W, C), or two sequences of a few frames (2, T, H, W, C)."""
    rows = dataset.manifest.split("train")
    if rows.sequences is None:
        chosen = np.resize(rows.rows, 2)
    else:
        found = timelines(rows)
        chosen = np.stack([np.resize(rows.rows[found[k % len(found)]], FRAMES) for k in range(2)])
    images = dataset.pixels.images(chosen.ravel())
    height, width = (min(image.shape[axis] for image in images) for axis in (0, 1))
    cut = np.stack([image[:height, :width] for image in images])
    return cut.reshape(*chosen.shape, *cut.shape[1:])


def load_program(uri: str) -> PyFuncModel:
    """Load an exported model from a URI or a folder, on the CPU, refusing anything pickled."""
    with tempfile.TemporaryDirectory(prefix="cellml-model-") as folder, environment.environ(NO_PICKLE):
        return patience.patiently(lambda: load_model(uri, dst_path=folder))


def _save(model: Model, eager: Classifier | Ensemble, example: npt.NDArray, folder: Path) -> None:
    spec, any_size = eager.spec, (-1,) * (example.ndim - 1)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(spec.dtype), (*any_size, spec.channels))]),
        Schema([TensorSpec(np.dtype("float32"), (*any_size[:-2], len(spec.classes)))]),
    )
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            mlflow.pytorch.save_model(
                eager,
                str(folder),
                mlflow_model=model,
                signature=signature,
                input_example=_small(example),
                serialization_format="pt2",
                pip_requirements=[f"mlflow=={mlflow.__version__}", f"torch=={torch.__version__.split('+')[0]}"],
            )
    except Exception as error:  # torch.export raises dozens of types
        raise ExportError(
            f"The backbone {_backbones(eager)} cannot be exported: {_line(error)}; choose another"
        ) from error
    # A program is tied to the device it was exported on: without this, MLflow refuses it on a machine with a GPU.
    model.flavors["python_function"]["config"] = {"device": "cpu"}


def _verify(eager: Classifier | Ensemble, example: npt.NDArray, folder: Path) -> None:
    program = load_program(str(folder))
    for images in _variants(example) if example.ndim == 4 else _lengths(example):
        with torch.no_grad():
            expected = eager(torch.from_numpy(images)).numpy()
        what = f"The exported program of {_backbones(eager)}, given images of shape {images.shape},"
        try:
            got = program.predict(images)
        except (RuntimeError, AssertionError, MlflowException) as error:  # a shape frozen while tracing
            raise ExportError(f"{what} fails: {_line(error)}; choose another backbone") from error
        worst = float(np.abs(got - expected).max())
        if not worst < TOLERANCE:
            raise ExportError(f"{what} differs from the model by {worst:.2g}; choose another backbone")


def _variants(example: npt.NDArray) -> Iterator[npt.NDArray]:
    """Other batch and image sizes than the one traced: whole, one image, an oblong part, larger."""
    height, width = example.shape[1:3]
    yield example
    yield example[:1]
    yield np.ascontiguousarray(np.concatenate([example, example])[:3, : max(height * 2 // 3, 1), : max(width // 2, 1)])
    yield np.ascontiguousarray(np.tile(example[:2], (1, 2, 2, 1))[:, : height + height // 2, : width + width // 3])


def _lengths(example: npt.NDArray) -> Iterator[npt.NDArray]:
    """Other numbers, lengths and sizes of sequences than those traced."""
    for length in LENGTHS:
        sequences = example[:, np.arange(length) % example.shape[1]]
        yield sequences[: 1 if length == max(LENGTHS) else 2]
    yield np.ascontiguousarray(np.concatenate([example, example])[:3, :1, : max(example.shape[2] * 2 // 3, 1)])


def _small(example: npt.NDArray) -> npt.NDArray:
    """Two oblong central parts: small in the store, and no dimension equal to another by chance while tracing."""
    full_height, full_width = example.shape[-3:-1]
    height, width = min(full_height, EXAMPLE), min(full_width, EXAMPLE)
    if height == width and width > 2:
        width -= 1
    top, left = (full_height - height) // 2, (full_width - width) // 2
    return np.ascontiguousarray(example[:2, ..., top : top + height, left : left + width, :])


def _log(run: Run, model: Model, folder: Path) -> str:
    client = courier.client()
    entity = client.get_run(run.id)
    logged = _made(run, {key: hidden(value) for key, value in entity.data.params.items()})
    model.model_id = model.model_uuid = logged.model_id
    model.artifact_path = logged.artifact_location
    model.save(str(folder / "MLmodel"))
    try:
        client.log_model_artifacts(logged.model_id, str(folder))
    except BaseException:
        try:
            MlflowClient().finalize_logged_model(logged.model_id, "FAILED")
        except MlflowException as error:  # what ended the block matters more
            _logger.warning("the model %s stays unfinished: %s", logged.model_id, hidden(str(error)))
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    _log_metrics(client, run.id, logged.model_id, list(entity.data.metrics))
    return f"models:/{logged.model_id}"


def _made(run: Run, params: dict[str, str]) -> LoggedModel:
    """A logged model without its files, made once."""
    tags = patience.token()

    def make() -> LoggedModel:
        return MlflowClient().create_logged_model(run.experiment_id, "model", run.id, tags, params, "classifier")

    def find() -> LoggedModel | None:
        found = MlflowClient().search_logged_models([run.experiment_id], patience.tagged(tags))
        return next(iter(found), None)

    return patience.once(make, find)


def _log_metrics(client: MlflowClient, run_id: str, model_id: str, keys: list[str]) -> None:
    """Show the run's last validation and test metrics beside the model, too."""
    last = [client.get_metric_history(run_id, key)[-1] for key in keys if key.startswith(("val/", "test/"))]
    metrics = [Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id, run_id=run_id) for m in last]
    if metrics:
        client.log_batch(run_id, metrics=metrics)


def _backbones(model: Classifier | Ensemble) -> str:
    members = [model] if isinstance(model, Classifier) else [member for member, _ in model.weighted()]
    return " with ".join(repr(member.spec.backbone) for member in members)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)

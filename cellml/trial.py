"""One trial, the straight way down: fit, predict, evaluate, explain, log."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cellml import heatmaps
from cellml.config import Experiment
from cellml.data import figures as sheets
from cellml.data.display import to_rgb
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation import figures, metrics
from cellml.evaluation.predictions import Predictions
from cellml.explain.base import EXPLAINERS
from cellml.models import backbones as networks
from cellml.models import classifier as models
from cellml.sampling.strategies import STRATEGIES
from cellml.tracking import names, registry
from cellml.tracking.run import Run
from cellml.training import fit as training
from cellml.training import losses
from cellml.training.predict import predict

OnEpoch = Callable[[int, dict[str, float]], None]
COMPARED = ("confusion", "mistakes")  # figures that the UI shows side by side for several runs
BASELINE = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss")


@dataclass(frozen=True)
class Outcome:
    """What a trial leaves behind: the fit, predictions by split, and the monitored validation metric."""

    fit: training.Fit
    predictions: dict[str, Predictions]
    score: float


def check(
    experiment: Experiment, classes: Sequence[str], backbones: Sequence[str] = (), strategies: Sequence[str] = ()
) -> None:
    """Refuse misspelt names before anything is computed.

    Args:
        experiment: what is to be run.
        classes: the data set's, for metrics and losses by class.
        backbones: those of a sweep; `model.backbone` otherwise.
        strategies: those of a sweep; `sampling.strategy` otherwise.

    Raises:
        UserError: an unknown backbone, strategy, metric, loss or explainer, with near names.
    """
    for backbone in backbones or [experiment.model.backbone]:
        networks.check(backbone, experiment.model.options)
    for strategy in strategies or [experiment.sampling.strategy]:
        STRATEGIES.options(strategy, experiment.sampling.options)
    metrics.check(experiment.train.monitor, classes)
    metrics.check(experiment.compare.metric, classes)
    losses.build(experiment.train.loss, experiment.train.loss_options, classes)
    for method in experiment.explain.methods:
        EXPLAINERS[method]


def run(
    experiment: Experiment,
    dataset: Dataset,
    tracked: Run,
    *,
    splits: Sequence[str] = ("val",),
    on_epoch: OnEpoch | None = None,
    progress: bool = True,
) -> Outcome:
    """Fit on the training rows, judge on validation, log everything to one MLflow run.

    Args:
        experiment: what to do.
        dataset: prepared data.
        tracked: the run that receives metrics and artifacts.
        splits: which splits to log, `val` among them; a trial of a sweep never looks at the test rows.
        on_epoch: called with the epoch and its record; may raise to stop the trial.
        progress: show a bar.

    Raises:
        UserError: the experiment does not fit the data.
    """
    manifest = dataset.manifest

    def epoch_done(epoch: int, record: dict[str, float]) -> None:
        tracked.metrics(_keyed(record), step=epoch)
        if on_epoch is not None:
            on_epoch(epoch, record)

    fitted = training.fit(
        experiment,
        dataset,
        train=manifest.split("train"),
        validation=manifest.split("val"),
        on_epoch=epoch_done,
        progress=progress,
        pretrained=starting_point(experiment),
    )
    assert fitted.validation is not None
    predictions = {"val": fitted.validation}
    for name in splits:
        if name != "val":
            rows = manifest.split(name)
            predictions[name] = predict(fitted.classifier, dataset, rows, device=experiment.train.device)
    tracked.metrics({"fit_seconds": fitted.seconds, "best_epoch": fitted.best_epoch})
    with tracked.artifacts() as folder:
        models.save(fitted.classifier, folder / "weights")
        (folder / "config.yaml").write_text(experiment.yaml(), encoding="utf-8")
        (folder / "figures").mkdir()
        curves = figures.learning_curves(fitted.history, best_epoch=fitted.best_epoch)
        curves.savefig(folder / "figures" / "learning_curves.png")
        (folder / "data").mkdir()
        (folder / "data" / "class_counts.json").write_text(json.dumps(fitted.counts, indent=2))
    log_predictions(dataset, tracked, predictions)
    shown = "test" if "test" in predictions else "val"
    if experiment.explain.count:
        rows = manifest.split(shown)
        heatmaps.log(fitted.classifier, dataset, rows, predictions[shown], tracked, experiment.explain)
    return Outcome(fitted, predictions, metrics.value(experiment.train.monitor, predictions["val"]))


def starting_point(experiment: Experiment) -> models.Classifier | None:
    """The registered model that `model.weights` names, or None where it names none.

    Raises:
        UserError: no such model, or one without `weights/`.
    """
    weights = experiment.model.weights
    return models.load(registry.weights_folder(weights)) if weights.startswith("models:/") else None


def log_predictions(dataset: Dataset, tracked: Run, predictions: dict[str, Predictions]) -> None:
    """Log predictions by split: the Parquet file, every metric beside the majority baseline's, the figures."""
    manifest = dataset.manifest
    record: dict[str, float] = {}
    with tracked.artifacts() as folder:
        (folder / "predictions").mkdir()
        (folder / "figures").mkdir()
        for split, predicted in predictions.items():
            baseline = metrics.compute(metrics.majority_baseline(manifest.split("train").counts, predicted))
            record |= {f"{split}/{name}": value for name, value in metrics.compute(predicted).items()}
            record |= {f"{split}/majority_{name}": baseline[name] for name in BASELINE}
            predicted.save(folder / "predictions" / f"{split}.parquet")
            for name, figure in _figures(dataset, manifest.split(split), predicted).items():
                path = folder / "figures" / f"{split}_{name}.png"
                figure.savefig(path)
                if name in COMPARED:
                    tracked.image(path, f"{split}_{name}")
    tracked.metrics(_keyed(record))


def log_dataset(dataset: Dataset, tracked: Run, name: str, source: str, *, contact_sheets: bool = True) -> None:
    """Log the manifest as an MLflow dataset, its table, the report of the checks and a contact sheet a class."""
    for context, split in (("training", "train"), ("validation", "val"), ("testing", "test")):
        part = dataset.manifest.split(split)
        if len(part):
            tracked.dataset(part, context, f"{name} {split}", source or None)
    tracked.tags({"cellml.dataset_digest": dataset.manifest.digest})
    with tracked.artifacts() as folder:
        target = folder / "data"
        target.mkdir()
        dataset.manifest.save(target / "manifest.parquet")
        (target / "report.json").write_text(json.dumps(dataset.report.to_dict(), indent=2), encoding="utf-8")
        if contact_sheets:
            sheets.class_balance(dataset.manifest).savefig(target / "class_balance.png")
            for label, sheet in sheets.contact_sheets(dataset).items():
                sheet.savefig(target / f"{names.slug(label)}.png")


def _figures(dataset: Dataset, manifest: Manifest, predicted: Predictions) -> dict[str, Figure]:
    position = {name: i for i, name in enumerate(manifest.ids)}

    def images(ids: npt.NDArray[np.object_]) -> list[npt.NDArray[np.uint8]]:
        rows = manifest.rows[[position[name] for name in ids]]
        return [to_rgb(image) for image in dataset.pixels.images(rows)]

    drawn = {name: draw(predicted) for name, draw in figures.FIGURES.items()}
    return drawn | {"mistakes": figures.mistakes(predicted, images)}


def _keyed(record: dict[str, float]) -> dict[str, float]:
    """Metrics under names that MLflow takes: the class in `val/recall_CD4+` is escaped."""
    parted = ((key.rpartition("/"), value) for key, value in record.items())
    return {f"{prefix}{slash}{names.slug(name)}": value for (prefix, slash, name), value in parted}

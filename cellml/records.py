"""What a run keeps of fits and predictions: tables, metrics and figures."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from rich.console import Console

from cellml.data import figures as sheets
from cellml.data.display import to_rgb
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation import (
    composition,
    figures,
    latent,
    metrics,
    reconstruction,
    segments,
    sequence_figures,
    stages,
)
from cellml.evaluation.predictions import Predictions
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.sequences import learn
from cellml.sequences.decode import Decoder
from cellml.tracking import names
from cellml.tracking.run import Run
from cellml.training import fit as training
from cellml.training import way_back

COMPARED = ("confusion", "mistakes", "label_matrix")  # figures that the UI shows side by side for several runs
BASELINE = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss")
EXACT = 1e-3  # relative error of a way back up to which images and what is made of them look the same
MAPPED, SHEET = 2000, 9  # images on a map of embeddings, and on a sheet of images there and back
OF_LABELS = ("accuracy", "balanced_accuracy", "f1_macro", *segments.METRICS)  # metrics that decoded stages have


def log_fits(tracked: Run, fits: Sequence[training.Fit]) -> None:
    """Log the learning curves, the class counts before and after sampling, and a sheet of synthetic images."""
    several = len(fits) > 1
    with tracked.artifacts() as folder:
        (folder / "figures").mkdir()
        (folder / "data").mkdir()
        for number, fitted in enumerate(fits, start=1):
            ending = f"_fold{number}" if several else ""
            curves = figures.learning_curves(fitted.history, best_epoch=fitted.best_epoch)
            curves.savefig(folder / "figures" / f"learning_curves{ending}.png")
        counts = [fitted.counts for fitted in fits]
        (folder / "data" / "class_counts.json").write_text(json.dumps(counts if several else counts[0], indent=2))
        if fits[0].synthetic:
            sheets.synthetic(fits[0].synthetic).savefig(folder / "data" / "synthetic.png")
    notes = list(dict.fromkeys(note for fitted in fits for note in fitted.notes))
    if notes:
        tracked.tags({"cellml.sampling": "; ".join(notes)})
    for line in notes:
        note(line)


def log_predictions(
    dataset: Dataset,
    tracked: Run,
    predictions: dict[str, Predictions],
    *,
    after: int | None = None,
    decoder: Decoder | None = None,
) -> None:
    """Log predictions by split: the Parquet file, every metric beside the majority baseline's, the figures.

    Args:
        dataset: the images.
        tracked: the run that receives it.
        predictions: by split.
        after: epochs that have been logged under the same keys. MLflow shows the value of the highest step as a run's,
            which is to be that of the model that is kept, not of the last epoch.
        decoder: of a sequence model; what it makes of the predictions is logged as the split `<split>_decoded`.
    """
    manifest = dataset.manifest
    record: dict[str, float] = {}
    with tracked.artifacts() as folder:
        (folder / "predictions").mkdir()
        (folder / "figures").mkdir()
        for split, predicted in predictions.items():
            baseline = metrics.compute(metrics.majority_baseline(manifest.split("train").frequencies, predicted))
            record |= {f"{split}/{name}": value for name, value in metrics.compute(predicted).items()}
            record |= {f"{split}/majority_{name}": baseline[name] for name in BASELINE}
            predicted.save(folder / "predictions" / f"{split}.parquet")
            _log_composition(dataset, folder, split, predictions)
            _log_stages(folder, split, predicted)
            for name, figure in _figures(dataset, rows(manifest, predicted), predicted).items():
                path = folder / "figures" / f"{split}_{name}.png"
                figure.savefig(path)
                if name in COMPARED:
                    tracked.image(path, f"{split}_{name}")
            if decoder is not None:
                record |= _log_decoded(folder, f"{split}_decoded", learn.decoded(predicted, decoder))
    tracked.metrics(keyed(record), step=None if after is None else after + 1)


def log_way_back(
    model: Classifier | Ensemble, dataset: Dataset, tracked: Run, *, best: int = 0, device: str = "auto"
) -> None:
    """Log what networks that turn embeddings back into images do with those of validation; nothing for others.

    `val/round_trip`, the largest relative error; a map of the embeddings; and, where the way back is not exact, a sheet
    of what it makes of the images.

    Args:
        model: an ensemble's figures are those of one member.
        dataset: the images.
        tracked: the run that receives it.
        best: position of that member.
        device: auto, cpu, cuda or mps.
    """
    rows = dataset.manifest.split("val")
    if rows.sequences is not None:
        return
    try:
        error = way_back.round_trip(model, dataset, rows, device)
    except UserError as fault:
        note(f"no val/round_trip: {fault}")
        return
    if error is None:
        return
    tracked.metrics({"val/round_trip": error})
    shown = model if isinstance(model, Classifier) else model.weighted()[best][0]
    mapped = rows.where(_spread(np.arange(len(rows)), MAPPED))
    title = f"Embeddings by {shown.spec.backbone}, {len(mapped):,} validation images"
    found = way_back.embedded(shown, dataset, mapped, device)
    tracked.figure(latent.figure(found, mapped.known_targets, mapped.classes, title), "figures/latent.png")
    if error > EXACT:
        few = rows.where(
            np.concatenate([_spread(of, -(-SHEET // len(rows.classes))) for of in _by_class(rows)])[:SHEET]
        )
        title = f"{shown.spec.backbone}, there and back, relative error {error:.2g} at most"
        images, made = way_back.made(shown, dataset, few, device)
        labels = ["" if k < 0 else few.classes[k] for k in few.targets]
        tracked.figure(reconstruction.sheet(images, made, labels, title=title), "figures/reconstruction.png")


def keyed(record: dict[str, float]) -> dict[str, float]:
    """Metrics that have a value, under names that MLflow takes: the class in `val/recall_CD4+` is escaped."""
    parted = ((key.rpartition("/"), value) for key, value in record.items() if math.isfinite(value))
    return {f"{prefix}{slash}{names.slug(name)}": value for (prefix, slash, name), value in parted}


def _by_class(rows: Manifest) -> list[npt.NDArray[np.int64]]:
    """Positions of each class's rows, and at last those of unknown class."""
    return [np.flatnonzero(rows.targets == k) for k in [*range(len(rows.classes)), -1]]


def _spread(positions: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """At most so many of them, evenly spaced."""
    return positions[np.unique(np.linspace(0, len(positions) - 1, count).astype(int))] if len(positions) else positions


def _log_stages(folder: Path, split: str, predicted: Predictions) -> None:
    """Write how long stages last and how well their steps are placed, where the rows are frames of sequences."""
    if predicted.sequences is None:
        return
    target = folder / "stages"
    target.mkdir(exist_ok=True)
    found = stages.durations(predicted)
    found.to_csv(target / f"{split}_segments.csv", index=False)
    stages.summary(found, predicted.classes).to_csv(target / f"{split}_durations.csv", index=False)
    stages.transitions(predicted).to_csv(target / f"{split}_transitions.csv", index=False)


def _log_decoded(folder: Path, split: str, decoded: Predictions) -> dict[str, float]:
    """Write the decoded stages, their figures and tables; gives those metrics that do not need probabilities."""
    decoded.save(folder / "predictions" / f"{split}.parquet")
    _log_stages(folder, split, decoded)
    for name, draw in sequence_figures.FIGURES.items():
        draw(decoded).savefig(folder / "figures" / f"{split}_{name}.png")
    found = metrics.compute(decoded)
    return {f"{split}/{name}": found[name] for name in OF_LABELS}


def _log_composition(dataset: Dataset, folder: Path, split: str, predictions: dict[str, Predictions]) -> None:
    """Write true and predicted composition of the populations of known mixture, where there are any."""
    predicted, validation = predictions[split], predictions.get("oof", predictions.get("val"))
    if predicted.soft_targets is None or not dataset.manifest.mixed.any():
        return
    soft = dataset.manifest.split("train").soft_targets
    prior = None if soft is None else dict(zip(predicted.classes, soft.sum(axis=0).tolist(), strict=True))
    shares = composition.table(predicted, validation, prior)
    target = folder / "composition"
    target.mkdir(exist_ok=True)
    shares.to_csv(target / f"{split}.csv", index=False)
    composition.summary(predicted, shares).to_csv(target / f"{split}_errors.csv", index=False)
    composition.figure(shares).savefig(folder / "figures" / f"{split}_composition.png")


def _figures(dataset: Dataset, manifest: Manifest, predicted: Predictions) -> dict[str, Figure]:
    position = {name: i for i, name in enumerate(manifest.ids)}

    def images(ids: npt.NDArray[np.object_]) -> list[npt.NDArray[np.uint8]]:
        rows = manifest.rows[[position[name] for name in ids]]
        return [to_rgb(image) for image in dataset.pixels.images(rows)]

    drawn = {name: draw(predicted) for name, draw in figures.FIGURES.items()}
    if predicted.sequences is not None:
        drawn |= {name: draw(predicted) for name, draw in sequence_figures.FIGURES.items()}
    return drawn | {"mistakes": figures.mistakes(predicted, images)}


def rows(manifest: Manifest, predicted: Predictions) -> Manifest:
    """The manifest's rows behind predictions, in their order."""
    position = {name: i for i, name in enumerate(manifest.ids)}
    return manifest.where(np.array([position[name] for name in predicted.ids], dtype=np.int64))


def note(line: str) -> None:
    """Tell the user something on standard error."""
    Console(stderr=True, soft_wrap=True).print(f"note: {line}", markup=False, highlight=False)


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

"""Heatmaps of a model on chosen images of a data set: contact sheets and raw maps in a run, strips in a report."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from cellml.config import Explain
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions
from cellml.explain import base, ensembles, maps, panels, selection, sheets
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.tracking import names
from cellml.tracking.run import Run

STRIP = 6  # overlays in a report's strip


def log(
    classifier: Classifier | Ensemble,
    dataset: Dataset,
    manifest: Manifest,
    predictions: Predictions,
    tracked: Run,
    settings: Explain,
) -> None:
    """Log `heatmaps/<method>/<class>.png` and `heatmaps/<method>.npz`; a method that fails becomes a tag of the run.

    Args:
        classifier: the model to explain.
        dataset: the images behind the manifest.
        manifest: N rows.
        predictions: what the model said of them, in the same order.
        tracked: the run that receives them.
        settings: methods, and how many images a class.
    """
    for method in settings.methods:
        try:
            _log(classifier, dataset, manifest, predictions, tracked, method, settings.count)
        except (RuntimeError, ValueError, UserError) as error:
            tracked.tags({f"cellml.heatmaps.{method}": f"failed: {' '.join(str(error).split())[:400]}"})


def strip(
    classifier: Classifier | Ensemble,
    dataset: Dataset,
    manifest: Manifest,
    predictions: Predictions,
    method: str = "gradcam",
) -> Figure:
    """A row of overlays of the images that tell most of the rarest class: what the report shows a model."""
    counts = np.bincount(predictions.targets[predictions.targets >= 0], minlength=len(predictions.classes))
    rarest = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
    chosen = selection.select(predictions, rarest, STRIP)
    images, attribution = _explain(classifier, dataset, manifest.where(chosen), method, rarest)
    captions = [
        f"is {predictions.classes[t]}: {p:.2f}"
        for t, p in zip(predictions.targets[chosen], predictions.probabilities[chosen, rarest], strict=True)
    ]
    return sheets.strip(images, attribution.maps, captions, most=STRIP)


def _log(
    classifier: Classifier | Ensemble,
    dataset: Dataset,
    manifest: Manifest,
    predictions: Predictions,
    tracked: Run,
    method: str,
    count: int,
) -> None:
    chosen = {k: selection.select(predictions, k, count) for k in range(len(predictions.classes))}
    done: list[base.Attribution] = []
    with tracked.artifacts() as folder:
        target = folder / "heatmaps" / method
        target.mkdir(parents=True)
        for k, index in chosen.items():
            if not len(index):
                continue
            name = predictions.classes[k]
            images, attribution = _explain(classifier, dataset, manifest.where(index), method, k)
            sheet = sheets.contact_sheet(
                images,
                attribution.maps,
                explained=name,
                true=_names(predictions, predictions.targets[index]),
                predicted=_names(predictions, predictions.predicted[index]),
                probability=predictions.probabilities[index, k],
                ids=[str(i) for i in predictions.ids[index]],
                title=" · ".join(filter(None, [attribution.method, attribution.layer])),
            )
            path = target / f"{names.slug(name)}.png"
            sheet.savefig(path)
            tracked.image(path, f"{method} {k} {name}")
            done.append(attribution)
        if done:
            ids = np.concatenate([predictions.ids[index] for index in chosen.values() if len(index)])
            maps.save_maps(folder / "heatmaps" / f"{method}.npz", ids, _joined(done))
    if done and done[0].fallback:
        tracked.tags({f"cellml.heatmaps.{method}": f"{done[0].method} instead: {done[0].fallback}"})


def _explain(
    classifier: Classifier | Ensemble, dataset: Dataset, manifest: Manifest, method: str, class_index: int
) -> tuple[list[npt.NDArray[np.uint8]], base.Attribution]:
    if isinstance(classifier, Ensemble):
        images, view = dataset.pixels.images(manifest.rows), ensembles.frame(classifier)
        attribution = ensembles.explain(method, classifier, images, np.full(len(images), class_index))
        return panels.shown(ensembles.prepare(view, images), view.spec), attribution
    spec = classifier.spec
    pixels = dataset.pixels.resized(spec.crop, spec.size, manifest.rows)
    prepared = torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    attribution = base.explain(method, classifier, prepared, np.full(len(pixels), class_index))
    return panels.shown(prepared, spec), attribution


def _joined(parts: Sequence[base.Attribution]) -> base.Attribution:
    first = parts[0]
    converged = [part.convergence for part in parts if part.convergence is not None]
    return base.Attribution(
        maps=np.concatenate([part.maps for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
        method=first.method,
        fallback=first.fallback,
        convergence=np.concatenate(converged) if len(converged) == len(parts) else None,
        layer=first.layer,
    )


def _names(predictions: Predictions, index: npt.NDArray[np.int64]) -> list[str]:
    return ["" if k < 0 else predictions.classes[k] for k in index]

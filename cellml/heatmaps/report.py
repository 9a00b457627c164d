"""What a comparison of models shows of their heatmaps: a strip of overlays, and scores."""

import numpy as np
from matplotlib.figure import Figure

from cellml.config import Explain
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation.predictions import Predictions
from cellml.explain import selection, sheets
from cellml.heatmaps import measures
from cellml.heatmaps.measures import Sample
from cellml.heatmaps.subject import Subject
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble

STRIP = 6  # overlays in a strip


def strip(
    model: Classifier | Ensemble,
    dataset: Dataset,
    manifest: Manifest,
    predictions: Predictions,
    method: str = "gradcam",
) -> Figure:
    """A row of overlays of the images that tell most of the rarest class: what the report shows a model."""
    counts = np.bincount(predictions.targets[predictions.targets >= 0], minlength=len(predictions.classes))
    rarest = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
    chosen = selection.select(predictions, rarest, STRIP)
    seen = Subject(model, dataset).see(manifest.where(chosen))
    attribution = seen.explain(method, np.full(len(chosen), rarest))
    captions = [
        f"is {predictions.classes[t]}: {p:.2f}"
        for t, p in zip(predictions.targets[chosen], predictions.probabilities[chosen, rarest], strict=True)
    ]
    return sheets.strip(seen.images, attribution.maps, captions, most=STRIP)


def faithfulness(
    model: Classifier | Ensemble,
    dataset: Dataset,
    manifest: Manifest,
    predictions: Predictions,
    settings: Explain,
) -> dict[str, float]:
    """Scores of a model's maps, `<method>_<figure>`, on a sample of images that is the same for every model.

    Raises:
        UserError: a method that cannot explain these images.
    """
    picked = measures.rows(predictions, settings.measured)
    if not len(picked):
        return {}
    subject = Subject(model, dataset)
    sample = Sample(subject, subject.see(manifest.where(picked)), predictions.predicted[picked])
    found: dict[str, float] = {}
    for method in dict.fromkeys(settings.methods):
        values = sample.measure(method, settings.options.get(method, {}), thorough=False).summary()
        found |= {f"{method}_{name}": value for name, value in values.items()}
    return found

"""How exactly trained networks turn embeddings back into the images they came from."""

import numpy as np
import torch

from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.models.generative import Generative
from cellml.training import device as devices

IMAGES = 32


def round_trip(
    model: Classifier | Ensemble, dataset: Dataset, manifest: Manifest, device: str = "auto"
) -> float | None:
    """Largest relative error of decode(encode(x)) over some images, evenly spaced, and the members of an ensemble.

    Args:
        model: comes back where, and in the mode that, it was.
        dataset: the images behind the manifest.
        manifest: images of one kind, at least one.
        device: auto, cpu, cuda or mps.

    Returns:
        |decode(encode(x)) - x| / |x|, or None where no network has a way back.

    Raises:
        UserError: a residual block that has no inverse.
    """
    members = [model] if isinstance(model, Classifier) else [member for member, _ in model.weighted()]
    chosen = np.unique(np.linspace(0, len(manifest) - 1, IMAGES).astype(int))
    worst = [_worst(one, dataset, manifest.where(chosen), device) for one in members if isinstance(one.net, Generative)]
    return max(worst, default=None)


def _worst(model: Classifier, dataset: Dataset, manifest: Manifest, device: str) -> float:
    assert isinstance(model.net, Generative)
    on, before, training = devices.pick(device), next(model.parameters()).device, model.training
    pixels = torch.from_numpy(dataset.pixels.resized(model.spec.crop, model.spec.size, manifest.rows))
    model.to(on).eval()
    try:
        seen = model.normalise(pixels.to(on).permute(0, 3, 1, 2).float())
        return float(model.net.round_trip(seen).max())
    finally:
        model.to(before).train(training)

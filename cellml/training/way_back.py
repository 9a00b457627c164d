"""How exactly, and into what, trained networks turn embeddings back into the images they came from."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.models import embeddings
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


def made(
    model: Classifier, dataset: Dataset, manifest: Manifest, device: str = "auto"
) -> tuple[npt.NDArray, npt.NDArray]:
    """Images as the network sees them, and decode(encode(x)) of them, both as raw pixel values.

    Args:
        model: of a network with a way back; comes back where, and in the mode that, it was.
        dataset: the images behind the manifest.
        manifest: some images.
        device: auto, cpu, cuda or mps.

    Returns:
        Two arrays (N, S, S, C) of the images' type; what was made is rounded and clipped to it.
    """
    net, (low, high) = _generative(model), _range(model.spec.dtype)
    with _placed(model, device) as on:
        seen = _seen(model, dataset, manifest, on)
        back = model.denormalise(net.decode(net.encode(seen))).round().clamp(low, high)
    images = dataset.pixels.resized(model.spec.crop, model.spec.size, manifest.rows)
    return images, back.permute(0, 2, 3, 1).cpu().numpy().astype(model.spec.dtype)


def embedded(model: Classifier, dataset: Dataset, manifest: Manifest, device: str = "auto") -> npt.NDArray[np.float32]:
    """What the last layer sees of some images, (N, D); arguments as of `made`."""
    with _placed(model, device):
        pixels = dataset.pixels.resized(model.spec.crop, model.spec.size, manifest.rows)
        return embeddings.compute(model, pixels)


def _worst(model: Classifier, dataset: Dataset, manifest: Manifest, device: str) -> float:
    with _placed(model, device) as on:
        return float(_generative(model).round_trip(_seen(model, dataset, manifest, on)).max())


def _generative(model: Classifier) -> Generative:
    assert isinstance(model.net, Generative)
    return model.net


def _range(dtype: str) -> tuple[int, int]:
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _seen(model: Classifier, dataset: Dataset, manifest: Manifest, on: torch.device) -> torch.Tensor:
    """Normalised images (N, C, S, S)."""
    pixels = torch.from_numpy(dataset.pixels.resized(model.spec.crop, model.spec.size, manifest.rows))
    return model.normalise(pixels.to(on).permute(0, 3, 1, 2).float())


@contextmanager
def _placed(model: Classifier, device: str) -> Iterator[torch.device]:
    """A model on a device, in evaluation mode and without gradients, for a while."""
    on, before, training = devices.pick(device), next(model.parameters()).device, model.training
    model.to(on).eval()
    try:
        with torch.no_grad():
            yield on
    finally:
        model.to(before).train(training)

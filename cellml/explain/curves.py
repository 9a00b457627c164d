"""Deletion and insertion: how the probability falls and rises as the most relevant pixels go and come."""

import numpy as np
import numpy.typing as npt
import torch

from cellml.explain import references
from cellml.explain.base import scores, undisturbed
from cellml.models.classifier import Classifier

Array = npt.NDArray[np.float64]


def deletion_insertion(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: npt.ArrayLike,
    maps: npt.NDArray[np.float32],
    *,
    steps: int = 20,
    baseline: str = "blur",
    seed: int = 0,
    batch_size: int = 128,
) -> tuple[Array, Array]:
    """Probability of the explained class as shares of the pixels are hidden, and as they are shown.

    Pixels go, or come, by falling signed relevance (Petsiuk et al. 2018, arXiv 1806.07421). In both curves
    the image under a wide Gaussian stands in for a hidden pixel: unlike black or grey it adds no edges, and an empty
    background stays empty. The probability is that of one upright view, after the classifier's calibration: what the
    maps explain.

    Args:
        classifier: what is explained.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) index of the class the maps explain.
        maps: (N, H, W) signed relevance.
        steps: S equal shares of the pixels.
        baseline: what hides a pixel, see `references.reference`.
        seed: of the order of pixels of the same relevance, one order for all images.
        batch_size: changed images a pass; no more of them exist at a time.

    Returns:
        Deletion and insertion, (N, S + 1) each: probability with 0, 1/S, ... 1 of the pixels hidden, or shown.

    Raises:
        UserError: an unknown baseline.
        ValueError: maps of another shape than the images, or no steps.
    """
    n, size = len(prepared), tuple(prepared.shape[2:])
    if maps.shape != (n, *size) or steps < 1:
        raise ValueError(f"expected maps of {(n, *size)} and at least one step, got {maps.shape} and {steps}")
    device = next(classifier.parameters()).device
    images = prepared.detach().to(device, torch.float32)
    hidden = references.reference(images, baseline)
    wanted = torch.as_tensor(np.array(classes, dtype=np.int64), device=device)
    places = torch.from_numpy(ranks(maps, seed)).to(device)[:, None]
    cuts = torch.tensor([round(k * size[0] * size[1] / steps) for k in range(steps + 1)], device=device)
    found = torch.empty(2, steps + 1, n, dtype=torch.float64)
    with torch.no_grad(), undisturbed(classifier):
        for jobs in torch.arange(2 * steps * n, device=device).split(batch_size):
            kind, step, image = jobs // (steps * n), jobs // n % steps, jobs % n
            gone = (places[image] < cuts[step][:, None, None, None]) ^ (kind == 1)[:, None, None, None]
            changed = torch.where(gone, hidden[image], images[image])
            found[kind.cpu(), step.cpu(), image.cpu()] = (
                scores(classifier, changed, wanted[image], "probability").double().cpu()
            )
    found[:, steps] = found[:, 0].flip(0)  # everything deleted is nothing inserted, and the other way round
    deletion, insertion = found.transpose(1, 2).numpy()
    return deletion, insertion


def area(curve: Array) -> Array:
    """Area under curves (N, S + 1) over the share of pixels, by trapezoids: (N,), a mean probability."""
    return np.trapezoid(curve, dx=1 / (curve.shape[1] - 1), axis=1)


def ranks(maps: npt.NDArray[np.float32], seed: int = 0) -> npt.NDArray[np.int64]:
    """Each pixel's place by falling relevance, 0 first, equal ones in a random order that is the same for all maps.

    Args:
        maps: (N, H, W).
        seed: of that order.

    Returns:
        (N, H, W), a permutation of 0 ... H * W - 1 in each.
    """
    flat = maps.reshape(len(maps), -1)
    shuffled = np.random.default_rng(seed).permutation(flat.shape[1])
    order = shuffled[np.argsort(-flat[:, shuffled], axis=1, kind="stable")]
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(flat.shape[1])[None], axis=1)
    return places.reshape(maps.shape)

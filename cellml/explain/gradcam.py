"""Grad-CAM and Grad-CAM++ on activations of any layout."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from cellml.errors import UserError
from cellml.explain import hooks
from cellml.explain.base import EXPLAINERS, Attribution, Score, array, scores
from cellml.explain.occlusion import stand_in
from cellml.models.classifier import Classifier

Weigh = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # activations, gradients (n, h, w, C) -> weights (n, C)


@EXPLAINERS.register("gradcam")
def gradcam(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    layer: str | None = None,
    grid: int = 7,
    score: Score = "log_odds",
    batch_size: int = 32,
) -> Attribution:
    """Grad-CAM: deep activations weighted by their mean gradient; convolutional and most token networks.

    Channel weights are the spatial mean of the score's gradient and a map is the weighted sum of the activations,
    enlarged bilinearly (Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2). The paper's final ReLU is left to the
    reader: negative values, evidence against the class, stay. Where no module can serve, occlusion stands in.

    Args:
        classifier: what is explained, in eval mode with frozen parameters.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        layer: dotted name of the backbone's module to read; None for the deepest that can serve.
        grid: the fewest positions a side wanted of that module's map; 7 is the last stage's of a ResNet at 224 pixels,
            and an earlier stage's of smaller images, whose last stage would be too coarse to point at anything.
        score: what the gradient is taken of; the paper's is "logit". The log-odds move the probability that is
            reported, a logit alone may move without it.
        batch_size: images a pass.

    Returns:
        Maps of (N, H, W); their scale differs from image to image.

    Raises:
        UserError: a layer that cannot be read.
    """
    target = find(classifier, prepared, layer, grid)
    return _cam("gradcam", target, classifier, prepared, classes, mean_gradient, score, batch_size)


@EXPLAINERS.register("gradcam_pp")
def gradcam_pp(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    layer: str | None = None,
    grid: int = 7,
    score: Score = "log_odds",
    batch_size: int = 32,
) -> Attribution:
    """Grad-CAM++: as Grad-CAM, with weights that find several regions of one class; the same networks.

    With g the score's gradient by an activation A at a position, a channel's weight is the sum over positions of
    alpha relu(g), alpha = g^2 / (2 g^2 + g^3 sum A) (Chattopadhyay et al. 2018, arXiv 1710.11063, eq. 10 and 19, for
    the exponential of the score, whose own value is a positive factor of an image's whole map and is left out).
    Values below zero come from activations below zero and stay.

    Args:
        classifier: what is explained, in eval mode with frozen parameters.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        layer: as in gradcam.
        grid: as in gradcam.
        score: what the gradient is taken of.
        batch_size: images a pass.

    Returns:
        Maps of (N, H, W); their scale differs from image to image.

    Raises:
        UserError: a layer that cannot be read.
    """
    target = find(classifier, prepared, layer, grid)
    return _cam("gradcam_pp", target, classifier, prepared, classes, _plus_plus, score, batch_size)


def find(classifier: Classifier, prepared: torch.Tensor, layer: str | None, grid: int) -> hooks.Target | hooks.Unserved:
    """The module to read for images like these, see `hooks.resolve`.

    Raises:
        UserError: a layer asked for that cannot be read.
    """
    target = hooks.resolve(classifier.net, classifier.logits, _dummy(classifier, prepared), layer=layer, grid=grid)
    if layer and isinstance(target, hooks.Unserved):
        raise UserError(f"Expected explain option 'layer' to name a module to read, got {layer!r}: {target.reason}")
    return target


def weighted(
    classifier: Classifier,
    target: hooks.Target,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    weigh: Weigh,
    score: Score,
    batch_size: int,
) -> torch.Tensor:
    """Sums of the target's activations under weights made of their gradients, enlarged to (N, H, W)."""
    batches = zip(prepared.split(batch_size), classes.split(batch_size), strict=True)
    maps = torch.cat([_maps(classifier, target, images, wanted, weigh, score) for images, wanted in batches])
    return F.interpolate(maps[:, None], size=prepared.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def _cam(
    name: str,
    target: hooks.Target | hooks.Unserved,
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    weigh: Weigh,
    score: Score,
    batch_size: int,
) -> Attribution:
    if isinstance(target, hooks.Unserved):
        return stand_in(name, classifier, prepared, classes, target.reason)
    maps = weighted(classifier, target, prepared, classes, weigh, score, batch_size)
    return Attribution(array(maps), classes.cpu().numpy(), name, layer=target.name)


def _maps(
    classifier: Classifier,
    target: hooks.Target,
    images: torch.Tensor,
    classes: torch.Tensor,
    weigh: Weigh,
    score: Score,
) -> torch.Tensor:
    """One forward pass, one backward pass from the score to the target: (n, h, w)."""
    with hooks.tapped(target.module) as taken, torch.enable_grad():
        total = scores(classifier, images, classes, score).sum()
        gradient = torch.autograd.grad(total, taken[0])[0]
    activations = target.to_maps(taken[0].detach())
    return torch.einsum("nhwc,nc->nhw", activations, weigh(activations, target.to_maps(gradient)))


def mean_gradient(_: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Grad-CAM's weights (n, C) from gradients (n, h, w, C)."""
    return gradients.mean(dim=(1, 2))


def _plus_plus(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    a, g = activations.double(), gradients.double()
    below = 2 * g**2 + g**3 * a.sum(dim=(1, 2), keepdim=True)
    alpha = torch.where(below != 0, g**2 / torch.where(below != 0, below, 1), 0)
    return (alpha * g.relu()).sum(dim=(1, 2)).to(activations.dtype)


def _dummy(classifier: Classifier, prepared: torch.Tensor) -> torch.Tensor:
    """Two images of noise over the raw range the classifier knows, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    low, high = (
        torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (classifier.spec.low, classifier.spec.high)
    )
    noise = torch.rand((2, *prepared.shape[1:]), generator=generator)
    return (low + noise * (high - low)).to(prepared.device)

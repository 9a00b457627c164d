"""Grad-CAM on activations of any layout."""

import numpy as np
import torch
import torch.nn.functional as F

from cellml.errors import UserError
from cellml.explain import hooks
from cellml.explain.base import EXPLAINERS, Attribution, Score, scores
from cellml.explain.occlusion import occlusion
from cellml.models.classifier import Classifier


@EXPLAINERS.register("gradcam")
def gradcam(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    layer: str | None = None,
    grid: int = 7,
    score: Score = "logit",
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
        score: what the gradient is taken of.
        batch_size: images a pass.

    Returns:
        Maps of (N, H, W); their scale differs from image to image.

    Raises:
        UserError: a layer that cannot be read.
    """
    size = tuple(prepared.shape[2:])
    target = hooks.resolve(classifier.net, classifier.logits, _dummy(classifier, prepared), layer=layer, grid=grid)
    if isinstance(target, hooks.Unserved):
        if layer:
            raise UserError(f"Expected explain option 'layer' to name a module to read, got {layer!r}: {target.reason}")
        result = occlusion(classifier, prepared, classes)
        reason = f"gradcam cannot serve {classifier.spec.backbone}: {target.reason}"
        return Attribution(result.maps, result.classes, result.method, reason)
    maps = [
        _maps(classifier, target, prepared[start : start + batch_size], classes[start : start + batch_size], score)
        for start in range(0, len(prepared), batch_size)
    ]
    large = F.interpolate(torch.cat(maps)[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    return Attribution(large.cpu().numpy().astype(np.float32), classes.cpu().numpy(), "gradcam", layer=target.name)


def _maps(
    classifier: Classifier, target: hooks.Target, images: torch.Tensor, classes: torch.Tensor, score: Score
) -> torch.Tensor:
    """One forward pass, one backward pass from the score to the target: (n, h, w)."""
    with hooks.tapped(target.module) as taken, torch.enable_grad():
        total = scores(classifier, images, classes, score).sum()
        gradient = torch.autograd.grad(total, taken[0])[0]
    weights = target.to_maps(gradient).mean(dim=(1, 2))
    return torch.einsum("nhwc,nc->nhw", target.to_maps(taken[0].detach()), weights)


def _dummy(classifier: Classifier, prepared: torch.Tensor) -> torch.Tensor:
    """Two images of noise over the raw range the classifier knows, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    low, high = (
        torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (classifier.spec.low, classifier.spec.high)
    )
    noise = torch.rand((2, *prepared.shape[1:]), generator=generator)
    return (low + noise * (high - low)).to(prepared.device)

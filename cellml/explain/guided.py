"""Guided backpropagation, alone and under Grad-CAM; networks of ReLUs."""

import warnings

import torch
from torch import nn

from cellml.explain import gradcam, hooks
from cellml.explain.base import EXPLAINERS, SLOPE, Attribution, Score, array, scores
from cellml.explain.gradients import strongest
from cellml.explain.occlusion import stand_in
from cellml.models.classifier import Classifier

_NO_RELU = "it has no ReLU module"


@EXPLAINERS.register("guided_backprop", SLOPE)
def guided_backprop(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    score: Score = "log_odds",
    batch_size: int = 32,
) -> Attribution:
    """Guided backpropagation: the gradient with only what speaks for the class let through each ReLU.

    Springenberg et al. 2015, arXiv 1412.6806. Other activations pass their plain gradient on; where a network has no
    ReLU module at all, occlusion stands in. A map has the value of the channel where it is largest.

    Args:
        classifier: what is explained, in eval mode with frozen parameters.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        score: what the gradient is taken of.
        batch_size: images a pass.

    Returns:
        Maps of (N, H, W), in units of the score over a raw value.
    """
    if not _served(classifier):
        return stand_in("guided_backprop", classifier, prepared, classes, _NO_RELU)
    channels = _guided(classifier, prepared, classes, score, batch_size)
    return Attribution(array(strongest(channels)), classes.cpu().numpy(), "guided_backprop", channels=array(channels))


@EXPLAINERS.register("guided_gradcam", SLOPE)
def guided_gradcam(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    layer: str | None = None,
    grid: int = 7,
    score: Score = "log_odds",
    batch_size: int = 32,
) -> Attribution:
    """Guided Grad-CAM: guided backpropagation where Grad-CAM finds the class; networks of ReLUs.

    Guided backpropagation times what is positive in Grad-CAM's enlarged map (Selvaraju et al. 2017, arXiv 1610.02391,
    section 3.2). Where either cannot serve, occlusion stands in.

    Args:
        classifier: what is explained, in eval mode with frozen parameters.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        layer: as in gradcam.
        grid: as in gradcam.
        score: what the gradients are taken of.
        batch_size: images a pass.

    Returns:
        Maps of (N, H, W); their scale differs from image to image.

    Raises:
        UserError: a layer that cannot be read.
    """
    target = gradcam.find(classifier, prepared, layer, grid)
    if isinstance(target, hooks.Unserved) or not _served(classifier):
        reason = target.reason if isinstance(target, hooks.Unserved) else _NO_RELU
        return stand_in("guided_gradcam", classifier, prepared, classes, reason)
    cam = gradcam.weighted(classifier, target, prepared, classes, gradcam.mean_gradient, score, batch_size)
    channels = _guided(classifier, prepared, classes, score, batch_size) * cam.relu()[:, None]
    return Attribution(
        array(strongest(channels)), classes.cpu().numpy(), "guided_gradcam", layer=target.name, channels=array(channels)
    )


class _Scored(nn.Module):
    """The score as a module, for hooks that go by the modules inside."""

    def __init__(self, classifier: Classifier, score: Score) -> None:
        super().__init__()
        self.classifier, self.score = classifier, score

    def forward(self, prepared: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return scores(self.classifier, prepared, classes, self.score)


def _served(classifier: Classifier) -> bool:
    return any(isinstance(module, nn.ReLU) for module in classifier.net.modules())


def _guided(
    classifier: Classifier, prepared: torch.Tensor, classes: torch.Tensor, score: Score, batch_size: int
) -> torch.Tensor:
    """(N, C, H, W)."""
    from captum.attr import GuidedBackprop

    method = GuidedBackprop(_Scored(classifier, score))
    batches = zip(prepared.split(batch_size), classes.split(batch_size), strict=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks")
        return torch.cat([method.attribute(x.requires_grad_(), additional_forward_args=k) for x, k in batches])

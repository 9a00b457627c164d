"""Saliency and SmoothGrad: how the score answers to a change of each pixel."""

from functools import partial

import torch

from cellml.explain.base import EXPLAINERS, SLOPE, Attribution, Score, array, at_least, scores, seeded
from cellml.models.classifier import Classifier


@EXPLAINERS.register("saliency", SLOPE)
def saliency(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    score: Score = "log_odds",
    batch_size: int = 32,
) -> Attribution:
    """Saliency: the score's gradient by each raw pixel value; any network.

    A map has the gradient of the channel where it is largest, with its sign (Simonyan et al. 2014, arXiv 1312.6034,
    there without).

    Args:
        classifier: what is explained, in eval mode with frozen parameters.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        score: what the gradient is taken of.
        batch_size: images a pass.

    Returns:
        Maps of (N, H, W), in units of the score over a raw value.
    """
    from captum.attr import Saliency

    method = Saliency(partial(scores, classifier, score=score))
    batches = zip(prepared.split(batch_size), classes.split(batch_size), strict=True)
    channels = torch.cat(
        [method.attribute(x.requires_grad_(), abs=False, additional_forward_args=k) for x, k in batches]
    )
    return Attribution(array(strongest(channels)), classes.cpu().numpy(), "saliency", channels=array(channels))


@EXPLAINERS.register("smoothgrad", SLOPE)
def smoothgrad(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    samples: int = 25,
    noise: float = 0.1,
    score: Score = "log_odds",
    seed: int = 0,
    batch_size: int = 32,
) -> Attribution:
    """SmoothGrad: the mean saliency of noisy copies of the image; any network.

    Smilkov et al. 2017, arXiv 1706.03825. Every image gets the same noise.

    Args:
        classifier: what is explained, in eval mode with frozen parameters.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        samples: noisy copies.
        noise: standard deviation of the noise, as a share of the range of raw values that the classifier knows.
        score: what the gradient is taken of.
        seed: of the noise.
        batch_size: images a pass, copies included.

    Returns:
        Maps of (N, H, W), in units of the score over a raw value.

    Raises:
        UserError: no samples, or noise below 0.
    """
    at_least(1, samples=samples)
    at_least(0, noise=noise)
    low, scale = classifier.low, classifier.scale

    def of_shares(shares: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return scores(classifier, low + scale * shares, wanted, score)

    from captum.attr import NoiseTunnel, Saliency

    method, parts = NoiseTunnel(Saliency(of_shares)), []
    for image, wanted in zip(prepared.split(1), classes.split(1), strict=True):
        with seeded(seed):
            part = method.attribute(
                (image - low) / scale,
                stdevs=float(noise),
                nt_samples=samples,
                nt_samples_batch_size=min(samples, batch_size),
                abs=False,
                additional_forward_args=wanted,
            )
        parts.append(part / scale)
    channels = torch.cat(parts)
    return Attribution(array(strongest(channels)), classes.cpu().numpy(), "smoothgrad", channels=array(channels))


def strongest(channels: torch.Tensor) -> torch.Tensor:
    """Of (N, C, H, W) the value of the channel with the largest magnitude, sign kept: (N, H, W)."""
    return channels.gather(1, channels.abs().argmax(dim=1, keepdim=True))[:, 0]

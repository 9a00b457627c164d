"""Gradients gathered on the way from a reference to the image: every map sums to the change of the score."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cellml.explain import references
from cellml.explain.base import EXPLAINERS, Attribution, Score, array, at_least, measured, scores, seeded
from cellml.models.classifier import Classifier


@EXPLAINERS.register("integrated_gradients")
def integrated_gradients(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    steps: int = 50,
    baseline: str = "blur",
    score: Score = "log_odds",
    batch_size: int = 32,
) -> Attribution:
    """Integrated gradients: the score's change from a reference to the image, pixel by pixel; any network.

    Change of a pixel times the mean gradient on the straight line between the two, by Gauss-Legendre quadrature
    (Sundararajan et al. 2017, arXiv 1703.01365), summed over channels.

    Args:
        classifier: what is explained, in eval mode with frozen parameters.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        steps: points on the line.
        baseline: the reference, see `references.reference`.
        score: what is explained.
        batch_size: images a pass, points included.

    Returns:
        Maps of (N, H, W), in units of the score; `convergence` is what their sum lacks of the score's change.

    Raises:
        UserError: no steps, or an unknown baseline.
    """
    at_least(1, steps=steps)
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(partial(scores, classifier, score=score))

    def attribute(image: torch.Tensor, blank: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return method.attribute(
            image, blank, additional_forward_args=wanted, n_steps=steps, internal_batch_size=batch_size
        )

    return _gathered("integrated_gradients", classifier, prepared, classes, baseline, score, batch_size, attribute)


@EXPLAINERS.register("gradient_shap")
def gradient_shap(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    samples: int = 50,
    noise: float = 0.05,
    baseline: str = "blur",
    score: Score = "log_odds",
    seed: int = 0,
    batch_size: int = 32,
) -> Attribution:
    """GradientSHAP: expected gradients at random points between a reference and noisy copies of the image; any network.

    captum's estimator of the integral that integrated gradients compute by quadrature (Erion et al. 2021,
    arXiv 1906.10670), with the white noise of SmoothGrad, summed over channels. The random points are the same for
    every image.

    Args:
        classifier: what is explained, in eval mode with frozen parameters.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        samples: random points.
        noise: standard deviation of the noise, as a share of the range of raw values that the classifier knows.
        baseline: the reference, see `references.reference`.
        score: what is explained.
        seed: of the points and the noise.
        batch_size: images a pass, points included.

    Returns:
        Maps of (N, H, W), in units of the score; `convergence` is what their sum lacks of the score's change.

    Raises:
        UserError: no samples, noise below 0, or an unknown baseline.
    """
    at_least(1, samples=samples)
    at_least(0, noise=noise)
    low, scale = classifier.low, classifier.scale

    from captum.attr import GradientShap

    def of_shares(shares: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return scores(classifier, low + scale * shares, wanted, score)

    def attribute(image: torch.Tensor, blank: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        method, total = GradientShap(of_shares), torch.zeros_like(image)
        with seeded(seed):
            for start in range(0, samples, batch_size):
                some = min(batch_size, samples - start)
                total += some * method.attribute(
                    (image - low) / scale,
                    (blank - low) / scale,
                    n_samples=some,
                    stdevs=float(noise),
                    additional_forward_args=wanted,
                )
        return total / samples

    return _gathered("gradient_shap", classifier, prepared, classes, baseline, score, batch_size, attribute)


@EXPLAINERS.register("shap_gradient")
def shap_gradient(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    samples: int = 50,
    baseline: str = "blur",
    score: Score = "log_odds",
    seed: int = 0,
    batch_size: int = 32,
) -> Attribution:
    """SHAP's GradientExplainer: expected gradients as the shap package computes them; any network.

    Erion et al. 2021, arXiv 1906.10670, summed over channels: what `gradient_shap` estimates, without noise. The random
    points are the same for every image.

    Args:
        classifier: what is explained, in eval mode with frozen parameters.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        samples: random points.
        baseline: the reference, see `references.reference`.
        score: what is explained.
        seed: of the points.
        batch_size: images a pass, points included.

    Returns:
        Maps of (N, H, W), in units of the score; `convergence` is what their sum lacks of the score's change.

    Raises:
        UserError: no samples, or an unknown baseline.
    """
    at_least(1, samples=samples)
    with seeded(seed):  # its import draws random numbers
        import shap

    def attribute(image: torch.Tensor, blank: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        column = _Column(lambda x: scores(classifier, x, wanted.expand(len(x)), score))
        with seeded(seed), torch.enable_grad():
            values = shap.GradientExplainer(column, blank, batch_size).shap_values(image, nsamples=samples, rseed=seed)
        return torch.from_numpy(np.asarray(values)[..., 0]).to(image.device)

    return _gathered("shap_gradient", classifier, prepared, classes, baseline, score, batch_size, attribute)


class _Column(nn.Module):
    """A function as a module with one output that owns no parameters: shap clears the gradients of those it finds."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)[:, None]


def _gathered(
    name: str,
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    baseline: str,
    score: Score,
    batch_size: int,
    attribute: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> Attribution:
    """Image by image: `attribute` takes it, its reference and its class."""
    blank = references.reference(prepared, baseline).contiguous()
    single = zip(prepared.split(1), blank.split(1), classes.split(1), strict=True)
    channels = torch.cat([attribute(*given) for given in single])
    change = measured(classifier, prepared, classes, score, batch_size)
    change -= measured(classifier, blank, classes, score, batch_size)
    maps = channels.double().sum(dim=1)
    lacking: npt.NDArray[np.float64] = np.abs(maps.sum(dim=(1, 2)).cpu().numpy() - change)
    return Attribution(array(maps), classes.cpu().numpy(), name, convergence=lacking, channels=array(channels))

"""LIME and KernelSHAP: a linear model of which superpixels are shown."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from cellml.explain import references, superpixels
from cellml.explain.base import EXPLAINERS, Attribution, Score, at_least, measured, scores, seeded
from cellml.models.classifier import Classifier

if TYPE_CHECKING:
    from captum.attr import Lime

_WIDTH = 0.25  # of LIME's kernel, in cosine distance, as for images in the authors' package


@dataclass(frozen=True)
class Cut:
    """One image (1, C, H, W), its reference, its class (1,) and the superpixel (H, W) of each pixel."""

    image: torch.Tensor
    blank: torch.Tensor
    wanted: torch.Tensor
    labels: torch.Tensor


@EXPLAINERS.register("lime")
def lime(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    samples: int = 500,
    count: int = 50,
    kind: Literal["slic", "quickshift"] = "slic",
    baseline: str = "blur",
    score: Score = "log_odds",
    seed: int = 0,
    batch_size: int = 32,
) -> Attribution:
    """LIME: a linear model of the score around the image, by superpixels shown or hidden; any network.

    Each superpixel is shown with probability 1/2; a ridge regression of the score, weighted by exp(-d^2 / w^2) with d
    the cosine distance from the whole image and w = 0.25, gives its part (Ribeiro et al. 2016, arXiv 1602.04938).
    That part is spread evenly over the superpixel's pixels.

    Args:
        classifier: what is explained, in eval mode.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        samples: evaluations of the network for an image.
        count: superpixels wanted.
        kind: of superpixels, see `superpixels.segment`.
        baseline: what stands where the image is hidden, see `references.reference`.
        score: what is explained.
        seed: of what is shown.
        batch_size: images a pass, hidden parts included.

    Returns:
        Maps of (N, H, W), in units of the score; `convergence` is the regression's weighted R2.

    Raises:
        UserError: fewer than two samples or superpixels, an unknown baseline or kind.
    """
    at_least(2, samples=samples, count=count)
    from captum.attr import Lime

    from cellml.explain.ridge import Ridge

    surrogate = Ridge()
    method = Lime(partial(scores, classifier, score=score), interpretable_model=surrogate, similarity_func=_similarity)
    fits = []

    def part(cut: Cut) -> torch.Tensor:
        surrogate.r2 = 1.0
        found = _coefficients(method, cut, samples, seed, batch_size)
        fits.append(surrogate.r2)
        return found

    maps = _spread(prepared, classes, superpixels.segment(prepared, count, kind), baseline, part)
    return Attribution(maps, classes.cpu().numpy(), "lime", convergence=np.asarray(fits))


@EXPLAINERS.register("kernel_shap")
def kernel_shap(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    samples: int = 500,
    count: int = 50,
    kind: Literal["slic", "quickshift"] = "slic",
    baseline: str = "blur",
    score: Score = "log_odds",
    seed: int = 0,
    batch_size: int = 32,
) -> Attribution:
    """KernelSHAP: Shapley values of superpixels, by a weighted linear model of the score; any network.

    Lundberg & Lee 2017, arXiv 1705.07874, theorem 2. A superpixel's value is spread evenly over its pixels, so that a
    map sums to the score's change from the reference to the image.

    Args:
        classifier: what is explained, in eval mode.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        samples: evaluations of the network for an image.
        count: superpixels wanted.
        kind: of superpixels, see `superpixels.segment`.
        baseline: what stands where the image is hidden, see `references.reference`.
        score: what is explained.
        seed: of what is shown.
        batch_size: images a pass, hidden parts included.

    Returns:
        Maps of (N, H, W), in units of the score; `convergence` is what their sum lacks of the score's change.

    Raises:
        UserError: fewer than two samples or superpixels, an unknown baseline or kind.
    """
    at_least(2, samples=samples, count=count)
    from captum.attr import KernelShap

    method = KernelShap(partial(scores, classifier, score=score))
    change = measured(classifier, prepared, classes, score, batch_size)
    change -= measured(classifier, references.reference(prepared, baseline), classes, score, batch_size)
    labels = superpixels.segment(prepared, count, kind)
    part = partial(_coefficients, method, samples=samples, seed=seed, batch_size=batch_size)
    maps = _spread(prepared, classes, labels, baseline, part)
    lacking = np.abs(maps.sum(axis=(1, 2), dtype=np.float64) - change)
    return Attribution(maps, classes.cpu().numpy(), "kernel_shap", convergence=lacking)


def _similarity(_: torch.Tensor, __: torch.Tensor, shown: torch.Tensor, **___: Any) -> torch.Tensor:
    """LIME's kernel: the cosine of a vector of k ones among d and that of all ones is sqrt(k / d)."""
    distance = 1 - shown.float().mean(dim=1).sqrt()
    return torch.exp(-(distance**2) / _WIDTH**2)


def _coefficients(method: "Lime", cut: Cut, samples: int, seed: int, batch_size: int) -> torch.Tensor:
    """Each superpixel's part; a single one has the whole change, of which no regression needs to tell."""
    if not cut.labels.any():
        with torch.no_grad():
            return method.forward_func(cut.image, cut.wanted) - method.forward_func(cut.blank, cut.wanted)
    with seeded(seed):
        return method.attribute(
            cut.image,
            baselines=cut.blank,
            additional_forward_args=(cut.wanted,),
            feature_mask=cut.labels[None, None],
            n_samples=samples,
            perturbations_per_eval=min(samples, batch_size),
            return_input_shape=False,
        ).reshape(-1)


def _spread(
    prepared: torch.Tensor,
    classes: torch.Tensor,
    labels: npt.NDArray[np.int64],
    baseline: str,
    part: Callable[[Cut], torch.Tensor],
) -> npt.NDArray[np.float32]:
    """Each superpixel's part over its number of pixels: (N, H, W)."""
    blank = references.reference(prepared, baseline).contiguous()
    maps = []
    for given in zip(prepared.split(1), blank.split(1), classes.split(1), labels, strict=True):
        cut = Cut(*given[:3], torch.from_numpy(given[3]).to(prepared.device))
        maps.append(part(cut).double().cpu().numpy()[given[3]] / np.bincount(given[3].ravel())[given[3]])
    return np.stack(maps).astype(np.float32)

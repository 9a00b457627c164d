"""Do maps stay when the image hardly changes?"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from cellml.explain.base import Attribution
from cellml.models.classifier import Spec

DRAWS = 3
NOISE = 0.02


def sensitivity(
    maps: npt.NDArray[np.float32],
    explain_again: Callable[[torch.Tensor], Attribution],
    prepared: torch.Tensor,
    spec: Spec,
    *,
    draws: int = DRAWS,
    noise: float = NOISE,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Max-sensitivity: the largest relative change of a map under small noise on the image.

    max over the draws of |map(x + d) - map(x)| / |map(x)|, d uniform in +-`noise` of the pixel range (Yeh et al. 2019,
    arXiv 1901.09392, estimated by sampling; norms are Euclidean).

    Args:
        maps: (N, H, W) of the images as they are.
        explain_again: makes the maps of changed images, of the same classes by the same method.
        prepared: (N, C, H, W) raw pixel values.
        spec: of the classifier, for the pixel range of each channel.
        draws: of the noise, each the same for all images.
        noise: largest change of a pixel, as a share of its channel's range.
        seed: of the noise.

    Returns:
        (N,), 0 for maps that do not change; NaN for a map that is 0 everywhere.
    """
    generator = torch.Generator().manual_seed(seed)
    reach = noise * (torch.tensor(spec.high) - torch.tensor(spec.low))[:, None, None]
    size = np.sqrt((maps.astype(np.float64) ** 2).sum(axis=(1, 2)))
    worst = np.zeros(len(maps))
    for _ in range(draws):
        change = reach * (2 * torch.rand(prepared.shape[1:], generator=generator) - 1)
        moved = explain_again(prepared.detach() + change.to(prepared.device)).maps.astype(np.float64) - maps
        worst = np.maximum(worst, np.sqrt((moved**2).sum(axis=(1, 2))))
    return worst / np.where(size > 0, size, np.nan)

"""What an image is compared with, or hidden by: itself without what it shows."""

import math

import torch
import torch.nn.functional as F

from cellml.errors import UserError


def reference(images: torch.Tensor, baseline: str, share: float = 0.15) -> torch.Tensor:
    """Each image's own reference.

    Args:
        images: (N, C, H, W).
        baseline: "blur" (the image under a Gaussian, so that an empty background stays empty) or "mean" (the image's
            mean, channel by channel).
        share: standard deviation of that Gaussian, as a share of each side.

    Returns:
        (N, C, H, W).

    Raises:
        UserError: an unknown baseline.
    """
    if baseline == "mean":
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    if baseline == "blur":
        return _blur(_blur(images, share, axis=2), share, axis=3)
    raise UserError(f"Expected explain option 'baseline' to be 'blur' or 'mean', got {baseline!r}")


def _blur(images: torch.Tensor, share: float, axis: int) -> torch.Tensor:
    """Gaussian with sigma as a share of the side, along one axis, edges replicated."""
    side = images.shape[axis]
    sigma = max(share * side, 1e-3)
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    channels = images.shape[1]
    shape, padding = ([-1, 1], (0, 0, reach, reach)) if axis == 2 else ([1, -1], (reach, reach, 0, 0))
    weight = (kernel / kernel.sum()).reshape(1, 1, *shape).expand(channels, 1, -1, -1)
    return F.conv2d(F.pad(images, padding, mode="replicate"), weight, groups=channels)

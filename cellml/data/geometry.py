"""Bringing images of any size to the network's input, by one function for the pixel cache and the exported model."""

import torch
import torch.nn.functional as F

VERSION = 1  # changes when the same image would come out otherwise


def fit(images: torch.Tensor, crop: int | None, size: int) -> torch.Tensor:
    """Central crop, then antialiased bilinear resizing to a square, rounded to whole pixel values.

    The crop repeats the border pixels where an image is smaller than it. Resizing is always done, so that the
    traced graph is the same whatever the shapes; at the same size it changes nothing. `torch.export` keeps N, H
    and W dynamic.

    Args:
        images: (N, H, W, C) uint8, uint16 or another number type, raw pixel values.
        crop: side of the central crop in source pixels; None takes the whole image, whatever its aspect.
        size: side of the result in pixels.

    Returns:
        (N, C, size, size) float32, raw pixel values without a fraction (halves go to the even neighbour).
    """
    pixels = images.to(torch.float32)
    if crop is not None:
        pixels = pixels.index_select(1, _central(pixels.shape[1], crop, pixels.device))
        pixels = pixels.index_select(2, _central(pixels.shape[2], crop, pixels.device))
    planes = pixels.permute(0, 3, 1, 2).contiguous()
    return F.interpolate(planes, size=(size, size), mode="bilinear", antialias=True, align_corners=False).round()


def _central(length: int, crop: int, device: torch.device) -> torch.Tensor:
    return (torch.arange(crop, device=device) + (length - crop) // 2).clamp(0, length - 1)

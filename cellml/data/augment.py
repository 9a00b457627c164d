"""Random changes of training images: drawn per sample, computed on the whole batch where the batch is."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cellml.config import Augment

_DIAGONAL = 1.42
_ERASE_AREA = (0.02, 0.2)  # share of the image
_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))  # of H, E and DAB: densities of R, G and B
_OFFSET, _DARKEST = 0.2, 1 / 255
_ERASE_ASPECT = (0.3, 1 / 0.3)  # Zhong et al., "Random Erasing Data Augmentation", AAAI 2020


@dataclass(frozen=True)
class Draws:
    """One draw of the geometric changes of N images.

    Attributes:
        angle: (N,) degrees, counter-clockwise.
        scale: (N,) factor, above 1 enlarges.
        shift: (N, 2) share of the output's side, right and down.
        flip: (N, 2) bool, left-right and up-down; done to the source, before the rest.
    """

    angle: Tensor
    scale: Tensor
    shift: Tensor
    flip: Tensor


def margin(config: Augment, crop: int | None, size: int, side: int) -> tuple[int | None, int]:
    """How wide the source should be fetched, so that turned corners show real pixels instead of reflected ones.

    Args:
        config: the augmentation.
        crop: side of the central crop in source pixels, or None for the whole image, beyond which there is nothing.
        size: side the crop is resized to.
        side: the images' shorter side in source pixels.

    Returns:
        The crop and size to fetch: up to 1.42 times (the diagonal of a square) what came, at the same scale and
        centre (within half a source pixel).
    """
    if crop is None or side <= crop or not (config.rotate or config.scale or config.shift):
        return crop, size
    limit = math.floor((side * size / crop - size) / 2)
    wide = size + 2 * min(math.ceil((_DIAGONAL - 1) * size / 2), limit)
    return round(crop * wide / size), wide


def draw(config: Augment, count: int, generator: torch.Generator) -> Draws:
    """Draw the geometric changes of `count` images, on the generator's device."""
    on = generator.device

    def uniform(limit: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator, device=on) * 2 - 1) * limit

    return Draws(
        angle=uniform(config.rotate, count),
        scale=1 + uniform(config.scale, count),
        shift=uniform(config.shift, count, 2),
        flip=(torch.rand((count, 2), generator=generator, device=on) < 0.5) & config.flip,
    )


def warp(images: Tensor, draws: Draws, size: int) -> Tensor:
    """Flip, turn, scale and shift in one bilinear resampling, reflecting at the border.

    Args:
        images: (N, C, S', S') with S' >= size; pixels keep their size, so the central window is what is seen.
        draws: of N images.
        size: the output's side in pixels.

    Returns:
        (N, C, size, size).
    """
    count, channels, side, _ = images.shape
    turn = torch.deg2rad(draws.angle)
    inverse = 1 / draws.scale
    cos, sin = torch.cos(turn) * inverse, torch.sin(turn) * inverse
    # from an output position p, in half sides around the centre: source = flip(R(-angle) (p - 2 shift) / scale)
    turned = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
    offset = -(turned @ (2 * draws.shift).unsqueeze(-1))
    mirror = 1 - 2 * draws.flip.to(images.dtype).unsqueeze(-1)
    theta = torch.cat([turned, offset], -1) * mirror * (size / side)
    grid = F.affine_grid(theta.to(images.dtype), [count, channels, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def geometry(images: Tensor, config: Augment, size: int, generator: torch.Generator) -> Tensor:
    """The geometric part of `augment`: exact where only flips or nothing at all is asked for."""
    if config.rotate or config.scale or config.shift:
        return warp(images, draw(config, len(images), generator), size)
    start = (images.shape[-1] - size) // 2
    images = images[..., start : start + size, start : start + size]
    if config.flip:
        flip = torch.rand((2, len(images), 1, 1, 1), generator=generator, device=generator.device) < 0.5
        images = torch.where(flip[0], images.flip(-1), images)
        images = torch.where(flip[1], images.flip(-2), images)
    return images


def intensity(images: Tensor, config: Augment, generator: torch.Generator) -> Tensor:
    """Stains, brightness, contrast (around each image's mean of each channel), colour per channel, noise, erasing."""
    count, channels = images.shape[:2]
    on = generator.device
    if config.stain:
        images = stain(images, config.stain, generator)

    def uniform(limit: float, width: int) -> Tensor:
        return (torch.rand((count, width, 1, 1), generator=generator, device=on) * 2 - 1) * limit

    mean = images.mean((2, 3), keepdim=True) if config.contrast or config.erase else images.new_zeros(())
    factor: Tensor | float = 1.0
    offset: Tensor | float = 0.0
    if config.contrast:
        factor = 1 + uniform(config.contrast, 1)
        offset = mean * (1 - factor)  # (x - mean) * factor + mean
    if config.brightness:
        offset = offset + uniform(config.brightness, 1)
    if config.color:
        color = 1 + uniform(config.color, channels)
        factor, offset = factor * color, offset * color
    if isinstance(offset, Tensor) or isinstance(factor, Tensor):
        images = images * factor + offset
    if config.noise:
        images = images + torch.randn(images.shape, generator=generator, device=on) * config.noise
    if config.erase:
        images = torch.where(_rectangles(images, config.erase, generator), mean * factor + offset, images)
    return images


def stain(images: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    """Change how much of haematoxylin, eosin and DAB each image took up: s -> a s + b for each stain.

    Optical densities are separated into stains by the matrix of Ruifrok and Johnston, "Quantification of histochemical
    staining by color deconvolution", Anal Quant Cytol Histol 23 (2001); factors and offsets as in Tellez et al.,
    "Whole-slide mitosis detection in H&E breast histology", IEEE TMI 37 (2018).

    Args:
        images: (N, 3, S, S) RGB on a scale of 0 to 1.
        limit: a is uniform in [1 - limit, 1 + limit], b in [-limit, limit] times a density of 0.2.
        generator: on the images' device.

    Returns:
        (N, 3, S, S), from 0 to 1.
    """
    on, kind = images.device, images.dtype
    absorbed = torch.tensor(_STAINS, device=on, dtype=kind)
    factor, offset = (torch.rand((2, len(images), 3), generator=generator, device=on, dtype=kind) * 2 - 1) * limit
    # densities d = s M; d' = (s (1 + f) + b) M, so that d' = d M^-1 diag(1 + f) M + b M
    turned = torch.linalg.inv(absorbed) @ ((1 + factor).unsqueeze(2) * absorbed)
    added = _OFFSET * offset @ absorbed
    density = -images.clamp(_DARKEST, 1).log()
    density = torch.einsum("nchw,ncd->ndhw", density, turned) + added[:, :, None, None]
    return torch.exp(-density).clamp(0, 1)


def augment(images: Tensor, config: Augment, size: int, generator: torch.Generator) -> Tensor:
    """Change every image of a batch at random, each in its own way.

    Args:
        images: (N, C, S', S') float on a scale of 0 to 1, S' >= size; the central window is the image, the rest margin.
        config: what to draw; with everything off the central window comes back unchanged.
        size: the output's side in pixels.
        generator: on the images' device; the one source of randomness.

    Returns:
        (N, C, size, size), of values that may leave 0 to 1.
    """
    return intensity(geometry(images, config, size, generator), config, generator)


def mixup(
    images: Tensor, targets: Tensor, weights: Tensor, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix every image with another of the batch (Zhang et al., "mixup", ICLR 2018), the share drawn per sample.

    The mixed targets and weights make a loss that is linear in the targets equal to the mixture of the weighted losses.

    Args:
        images: (N, C, S, S).
        targets: (N, K) class probabilities.
        weights: (N,) loss weights.
        alpha: of the Beta(alpha, alpha) distribution of the share; 0: nothing is mixed.
        generator: on the images' device.

    Returns:
        Mixed images, targets and weights, shaped as they came.
    """
    if not alpha:
        return images, targets, weights
    share = mixing_shares(len(images), alpha, generator).to(images.dtype)
    partner = torch.randperm(len(images), generator=generator, device=generator.device)
    images = torch.lerp(images[partner], images, share.view(-1, 1, 1, 1))
    return images, *_mixed(targets, weights, share, partner)


def cutmix(
    images: Tensor, targets: Tensor, weights: Tensor, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Replace a rectangle of every image by that of another (Yun et al., "CutMix", ICCV 2019), drawn per sample.

    The rectangle has the image's shape and 1 - share of its area, share from Beta(alpha, alpha), and a uniform centre;
    what stands out of the image is cut off, and the targets follow the area that was replaced.

    Args and returns: as `mixup`.
    """
    if not alpha:
        return images, targets, weights
    count, on = len(images), generator.device
    height, width = images.shape[-2:]
    half = ((1 - mixing_shares(count, alpha, generator)).sqrt() / 2).to(images.dtype).view(-1, 1, 1, 1)
    y0, x0 = torch.rand((2, count, 1, 1, 1), generator=generator, device=on)
    partner = torch.randperm(count, generator=generator, device=on)
    y = (torch.arange(height, device=on) + 0.5).view(1, 1, -1, 1) / height
    x = (torch.arange(width, device=on) + 0.5).view(1, 1, 1, -1) / width
    inside = ((y - y0).abs() < half) & ((x - x0).abs() < half)
    share = 1 - inside.to(images.dtype).mean((1, 2, 3))
    images = torch.where(inside, images[partner], images)
    return images, *_mixed(targets, weights, share, partner)


def mix(
    images: Tensor, targets: Tensor, weights: Tensor, config: Augment, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix a batch by `mixup` or `cutmix`; where both are on, either with probability 1/2."""
    cut = bool(config.cutmix)
    if config.mixup and config.cutmix:
        cut = bool(torch.rand((), generator=generator, device=generator.device) < 0.5)
    if cut:
        return cutmix(images, targets, weights, config.cutmix, generator)
    return mixup(images, targets, weights, config.mixup, generator)


def _mixed(targets: Tensor, weights: Tensor, share: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    mine, other = share * weights, (1 - share) * weights[partner]
    mixed = mine + other
    targets = mine.unsqueeze(1) * targets + other.unsqueeze(1) * targets[partner]
    return targets / mixed.clamp_min(1e-12).unsqueeze(1), mixed


def mixing_shares(count: int, alpha: float, generator: torch.Generator) -> Tensor:
    """`count` shares from Beta(alpha, alpha), (N,), as the ratio of two Gamma draws."""
    exact = torch.float32 if generator.device.type == "mps" else torch.float64
    shape = torch.full((2, count), alpha, dtype=exact, device=generator.device)
    first, second = torch._standard_gamma(shape, generator=generator)
    return first / (first + second).clamp_min(torch.finfo(exact).tiny)


def _rectangles(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    on = generator.device
    chance, area, aspect, top, left = torch.rand((5, count, 1, 1, 1), generator=generator, device=on)
    area = _ERASE_AREA[0] + area * (_ERASE_AREA[1] - _ERASE_AREA[0])
    low, high = (math.log(limit) for limit in _ERASE_ASPECT)
    aspect = torch.exp(low + aspect * (high - low))
    tall, wide = (area * aspect).sqrt().clamp_max(1), (area / aspect).sqrt().clamp_max(1)
    top, left = top * (1 - tall), left * (1 - wide)
    y = (torch.arange(height, device=on) + 0.5).view(1, 1, -1, 1) / height
    x = (torch.arange(width, device=on) + 0.5).view(1, 1, 1, -1) / width
    inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
    return inside & (chance < probability)

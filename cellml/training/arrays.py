"""Prepared images in memory, batches of them by index, and what their values are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from cellml.data.manifest import Manifest
from cellml.sampling.base import Sample

_COUNTED = 1 << 26  # values that statistics look at, at most


@dataclass(frozen=True)
class Arrays:
    """Images and labels of one split, on one device.

    Attributes:
        pixels: (N, S, S, C) uint8 or uint16, raw values.
        targets: (N, K) float32 class probabilities.
    """

    pixels: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: Tensor) -> Tensor:
        """The images at the given positions as (M, C, S, S) float32 raw values, on the positions' device."""
        chosen = self.pixels.index_select(0, rows.to(self.pixels.device)).to(rows.device)
        return chosen.permute(0, 3, 1, 2).float()

    def labels(self, rows: Tensor) -> Tensor:
        """The (M, K) class probabilities at the given positions."""
        return self.targets.index_select(0, rows)


def load(pixels: npt.NDArray, targets: Tensor, device: torch.device) -> Arrays:
    """Put a split's images and labels on a device; images too many for it stay in main memory.

    Args:
        pixels: (N, S, S, C) uint8 or uint16.
        targets: (N, K) class probabilities.
        device: where batches are wanted.
    """
    images = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    if device.type != "cuda" or images.nbytes < torch.cuda.mem_get_info(device)[0] // 3:
        images = images.to(device)
    return Arrays(images, targets.to(device))


def labels(manifest: Manifest, soft: bool = True) -> Tensor:
    """Class probabilities of a manifest's N rows, (N, K) float32: its soft labels, or ones and zeros.

    Args:
        manifest: N rows.
        soft: take soft labels where there are any.
    """
    shares = manifest.soft_targets
    if soft and shares is not None:
        return torch.tensor(shares, dtype=torch.float32)
    return F.one_hot(torch.from_numpy(manifest.targets), len(manifest.classes)).float()


class Batches:
    """Batches of positions and loss weights, in a new random order or a new draw each epoch.

    The last batch may be smaller; a last batch of one is left out, since batch normalisation cannot train on it. With
    `steps` an epoch is that many whole batches, whatever the number of rows.
    """

    def __init__(
        self,
        sample: Sample,
        batch_size: int,
        generator: torch.Generator,
        device: torch.device,
        steps: int | None = None,
    ) -> None:
        """`generator` is a CPU's; batches come on `device`; `steps` whole batches an epoch, or every row once."""
        self.rows = torch.as_tensor(sample.rows, dtype=torch.int64)
        self.weights = torch.as_tensor(sample.weights, dtype=torch.float32)
        self.cumulated = None
        if sample.draw is not None:
            self.cumulated = torch.as_tensor(sample.draw, dtype=torch.float64).cumsum(0)
        self.batch_size = batch_size
        self.generator = generator
        self.device = device
        self.steps = steps

    def __len__(self) -> int:
        if self.steps is not None:
            return self.steps
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (rest > 1 or whole == 0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = self._order()
        rows, weights = self.rows[order].to(self.device), self.weights[order].to(self.device)
        for step in range(len(self)):
            batch = slice(step * self.batch_size, (step + 1) * self.batch_size)
            yield rows[batch], weights[batch]

    def _order(self) -> Tensor:
        count = len(self.rows) if self.steps is None else self.steps * self.batch_size
        if self.cumulated is None:
            rounds = -(-count // len(self.rows))
            orders = [torch.randperm(len(self.rows), generator=self.generator) for _ in range(rounds)]
            return torch.cat(orders)[:count]
        uniform = torch.rand(count, generator=self.generator, dtype=torch.float64)
        drawn = torch.searchsorted(self.cumulated, uniform * self.cumulated[-1], right=True)
        return drawn.clamp_max(len(self.rows) - 1)


class InOrder:
    """Batches of positions 0 to N - 1, in order."""

    def __init__(self, count: int, batch_size: int, device: torch.device) -> None:
        self.chunks = torch.arange(count, device=device).split(batch_size)

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.chunks)


@dataclass(frozen=True)
class Scale:
    """What raw values are mapped from: per channel, `low` and `high` become 0 and 1; mean and std are on that scale."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def scale(pixels: npt.NDArray) -> Scale:
    """Value range and moments of the training images, from a histogram a channel.

    8-bit values keep 0 to 255; 16-bit ones go from the 0.1 to the 99.9 percentile, since a camera fills a fraction of
    their range and a few saturated pixels should not set the scale.

    Args:
        pixels: (N, S, S, C) uint8 or uint16; of very many, every k-th image is looked at.
    """
    every = max(1, -(-pixels.size // _COUNTED))
    levels = np.iinfo(pixels.dtype).max + 1
    values = np.arange(levels)
    found = []
    for channel in range(pixels.shape[-1]):
        counts = np.zeros(levels, dtype=np.int64)
        for image in np.array_split(pixels[::every, ..., channel], max(1, pixels[::every].size >> 22)):
            counts += np.bincount(image.ravel(), minlength=levels)
        low, high = 0.0, 255.0
        if levels > 256:
            share = counts.cumsum() / counts.sum()
            low, high = (float(np.searchsorted(share, q)) for q in (0.001, 0.999))
            high = max(high, low + 1)
        scaled = (values - low) / (high - low)
        mean = float((counts * scaled).sum() / counts.sum())
        deviation = float(np.sqrt((counts * (scaled - mean) ** 2).sum() / counts.sum()))
        found.append((low, high, mean, deviation if deviation > 1e-6 else 1.0))
    low_, high_, mean_, std_ = zip(*found, strict=True)
    return Scale(low_, high_, mean_, std_)

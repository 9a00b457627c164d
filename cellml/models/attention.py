"""Attention blocks: maps (N, C, H, W), or vectors (N, D), in; the same shape out, with what matters raised."""

import math

import torch
from torch import nn
from torch.nn import functional

from cellml.registry import Registry

ATTENTION: Registry = Registry("attention block")
VECTOR = "vector"  # mark of a block on pooled vectors; the others take maps
FEWEST = 8  # hidden units of a bottleneck, however narrow the stage


class Bottleneck(nn.Sequential):
    """Two linear layers with a ReLU between them, C -> max(C / 16, 8) -> C."""

    def __init__(self, channels: int) -> None:
        hidden = max(channels // 16, FEWEST)
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))


@ATTENTION.register("se")
class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation: channels scaled by a gate on their means (Hu et al. 2018, arXiv 1709.01507, eq. 2-4).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = Bottleneck(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x * sigmoid(W2 relu(W1 mean(x))), (N, C, H, W)."""
        return x * torch.sigmoid(self.gate(x.mean(dim=(2, 3))))[:, :, None, None]


@ATTENTION.register("eca")
class EfficientChannelAttention(nn.Module):
    """Efficient channel attention: the gate sees neighbouring channels alone (Wang et al. 2020, arXiv 1910.03151).

    The convolution over the channels' means has the odd kernel size next to |log2(C) / 2 + 1 / 2| (eq. 12).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = int(abs(math.log2(channels) / 2 + 1 / 2))
        size += 1 - size % 2
        self.gate = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x * sigmoid(conv1d(mean(x))), (N, C, H, W)."""
        return x * torch.sigmoid(self.gate(x.mean(dim=(2, 3))[:, None]))[:, 0, :, None, None]


@ATTENTION.register("cbam")
class ConvolutionalBlockAttention(nn.Module):
    """Channel attention, then spatial attention, from means and maxima (Woo et al. 2018, arXiv 1807.06521, eq. 1-3).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = Bottleneck(channels)
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """y * sigmoid(conv7([mean_c y; max_c y])) of y = x * sigmoid(mlp(mean x) + mlp(max x)), (N, C, H, W)."""
        gate = self.channel(x.mean(dim=(2, 3))) + self.channel(x.amax(dim=(2, 3)))
        y = x * torch.sigmoid(gate)[:, :, None, None]
        seen = torch.stack([y.mean(dim=1), y.amax(dim=1)], dim=1)
        return y * torch.sigmoid(self.spatial(seen))


@ATTENTION.register("non_local")
class NonLocal(nn.Module):
    """Each position adds what is like it anywhere, embedded Gaussian (Wang et al. 2018, arXiv 1711.07971, eq. 1-6).

    With C / 2 inner channels; its last convolution starts at zero, so that the block starts as the identity.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.out = nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x + W softmax(theta(x)' phi(x)) g(x), (N, C, H, W); the softmax runs over all positions."""
        query, key, value = (part(x).flatten(2).transpose(1, 2) for part in (self.theta, self.phi, self.g))
        y = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.out(y.transpose(1, 2).unflatten(2, x.shape[2:]))


@ATTENTION.register("se1d", VECTOR)
class VectorExcitation(nn.Module):
    """Squeeze-and-excitation on the pooled vector: features scaled by a gate on all of them (after Hu et al. 2018).

    Args:
        channels: D.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = Bottleneck(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x * sigmoid(W2 relu(W1 x)), (N, D)."""
        return x * torch.sigmoid(self.gate(x))

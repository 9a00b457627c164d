"""Convolutions that contract: their norm as an operator on maps of their size is held down."""

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SETTLING = 30  # power iterations before a norm is relied on; a few are enough from the last step's vector


def norm(weight: Tensor, u: Tensor, iterations: int = 1) -> tuple[Tensor, Tensor]:
    """Largest singular value of a convolution with zero padding, from below, by power iteration.

    The operator is x -> conv(x) on maps of u's size, not the reshaped kernel (Gouk et al. 2018, arXiv 1804.04368;
    Behrmann et al. 2019, arXiv 1811.00995, section 2.1). The gradient is that of |conv(v)| at the last v.

    Args:
        weight: (O, I, k, k), k odd.
        u: (1, O, h, w) of norm 1, the output-side vector to start from.
        iterations: at least 1.

    Returns:
        The norm, a scalar, and the next u without gradient.
    """
    padding = weight.shape[-1] // 2
    for left in reversed(range(iterations)):
        with torch.no_grad():
            v = F.conv_transpose2d(u, weight, padding=padding)
            v = v / v.norm().clamp_min(torch.finfo(v.dtype).tiny)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not left):
            seen = F.conv2d(v, weight, padding=padding)
            size = seen.norm()
        u = seen.detach() / size.detach().clamp_min(torch.finfo(v.dtype).tiny)
    return size, u


class SpectralConv2d(nn.Conv2d):
    """A convolution with its kernel times min(1, coefficient / norm), the norm being its operator's.

    In training a step of power iteration a pass follows the norm. For evaluation the factor is a constant, derived on
    leaving training and stored with the weights, so that what is exported and loaded is what was trained.

    Args:
        inputs: I channels.
        outputs: O channels.
        kernel: k, odd; the maps keep their size.
        side: of the maps in pixels.
        coefficient: the largest norm allowed.
    """

    u: Tensor
    factor: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, *, side: int, coefficient: float) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.coefficient = coefficient
        side = side if kernel > 1 else 1  # the same operator at every position
        start = torch.randn(1, outputs, side, side, generator=torch.Generator().manual_seed(0))
        self.register_buffer("u", start / start.norm(), persistent=False)
        self.register_buffer("factor", torch.ones(()))
        self._stale = False
        self.settle()

    def forward(self, x: Tensor) -> Tensor:
        """(N, O, h, w) of (N, I, h, w)."""
        return self._conv_forward(x, self.weight * self._factor(), self.bias)

    def train(self, mode: bool = True) -> Self:
        """Switch; on leaving training the factor is derived from the weights reached."""
        if not mode and self._stale:
            self.settle()
        super().train(mode)
        return self

    @torch.no_grad()
    def settle(self) -> None:
        """Derive the factor from the present weights."""
        self.factor.copy_((self.coefficient / self._norm(_SETTLING)).clamp_max(1))
        self._stale = False

    @torch.no_grad()
    def bound(self) -> float:
        """The norm of what evaluation convolves with."""
        return float(self._norm(_SETTLING) * self.factor.abs())

    def _norm(self, iterations: int) -> Tensor:
        with torch.autocast(self.u.device.type, enabled=False):
            found, u = norm(self.weight, self.u, iterations)
        self.u.copy_(u)
        return found

    def _factor(self) -> Tensor:
        if not self.training:
            return self.factor
        if not torch.is_grad_enabled():  # an inverse asks for one and the same map again and again
            return (self.coefficient / norm(self.weight, self.u)[0]).clamp_max(1)
        self._stale = True
        return (self.coefficient / self._norm(1)).clamp_max(1)


def spectral(module: nn.Module) -> list[SpectralConv2d]:
    """The normalised convolutions within a module."""
    found: list[Any] = [part for part in module.modules() if isinstance(part, SpectralConv2d)]
    return found

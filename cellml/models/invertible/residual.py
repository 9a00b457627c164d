"""Residual blocks that can be inverted: x + F(x) with an F that contracts."""

from typing import Any

import torch
from torch import Tensor, nn

from cellml.errors import UserError
from cellml.models.invertible import series
from cellml.models.invertible.spectral import SpectralConv2d, spectral

ITERATIONS = 200
TOLERANCE = 1e-6  # step of the fixed-point iteration over the size of the point, where it stops
ACCEPTED = 1e-4  # the same, where it has to stop: the rounding of large maps may forbid less


class NoContraction(UserError):
    """A residual branch that does not contract: there is no inverse to iterate to."""


class Residual(nn.Module):
    """y = x + F(x) (Behrmann et al. 2019, arXiv 1811.00995): ELU and convolutions 3 x 3, 1 x 1, 3 x 3 in F.

    With each convolution's norm at most c, F is c^3-Lipschitz: the block is one to one for c < 1.

    Args:
        channels: C of the maps.
        width: channels between the convolutions.
        side: of the maps in pixels.
        coefficient: c.
    """

    def __init__(self, channels: int, width: int, side: int, coefficient: float) -> None:
        super().__init__()
        given: Any = {"side": side, "coefficient": coefficient}
        self.branch = nn.Sequential(
            nn.ELU(),
            SpectralConv2d(channels, width, 3, **given),
            nn.ELU(),
            SpectralConv2d(width, width, 1, **given),
            nn.ELU(),
            SpectralConv2d(width, channels, 3, **given),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, h, w)."""
        return x + self.branch(x)

    @torch.no_grad()
    def inverse(self, y: Tensor) -> Tensor:
        """The x of some y, by the iteration x <- y - F(x); holds three maps, however many steps it takes.

        Raises:
            NoContraction: the steps do not get small.
        """
        x = y
        for _ in range(ITERATIONS):
            after = y - self.branch(x)
            step = _relative(after - x, after)
            x = after
            if step < TOLERANCE:
                return x
        if not step < ACCEPTED:
            raise NoContraction(
                f"Expected residual blocks that contract, one still moves by {step:.2g} of its input after "
                f"{ITERATIONS} steps of the inverse (norm of its branch {self.bound():.3g}, below 1 wanted); "
                "load the weights as they were trained, or train it on"
            )
        return x

    def with_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, C, h, w) and the estimated log-determinant (N,): unbiased in training, truncated in evaluation.

        In evaluation the probes are the same at every call.
        """
        if self.training:
            (terms, divisors), probe = series.drawn(), series.probe_like(x)
        else:
            fixed = torch.Generator(x.device).manual_seed(0)
            (terms, divisors), probe = series.truncated(), series.probe_like(x, fixed)
        moved, found = series.log_det(self.branch, x, terms, divisors.to(x.device), probe)
        return x + moved, found

    def bound(self) -> float:
        """A bound of F's Lipschitz constant in evaluation: the product of the convolutions' norms."""
        product = 1.0
        for convolution in spectral(self):
            product *= convolution.bound()
        return product


def _relative(step: Tensor, point: Tensor) -> float:
    """Largest of |step| / |point| over the N images; NaN counts as infinite."""
    sizes = point.flatten(1).norm(dim=1).clamp_min(1e-6)
    return float((step.flatten(1).norm(dim=1) / sizes).max().nan_to_num(float("inf")))

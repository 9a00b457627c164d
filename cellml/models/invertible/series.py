"""The log-determinant of x + F(x) by a power series with random probes."""

from collections.abc import Callable

import torch
from torch import Tensor

Branch = Callable[[Tensor], Tensor]

EXACT = 2  # terms of every training step; the number of further ones is drawn
TRUNCATED = 20  # terms in evaluation


def log_det(branch: Branch, x: Tensor, terms: int, divisors: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """F(x), and an estimate of log |det(I + J)|, J = dF/dx, for a branch F that contracts.

    The value is sum_k (-1)^(k+1) / k v'J^k v / d_k, v a random probe (Hutchinson), and its gradient that of the Neumann
    series v'(sum_k (-1)^k J^k / d_k) dJ v, which needs one differentiable product only (Chen et al. 2019, Residual
    Flows, arXiv 1906.02735, eq. 6 and 8). Both are truncated after `terms` where the divisors d are ones, and without
    bias where `terms` was drawn and d_k is the probability of reaching term k.

    Args:
        branch: F, differentiable, image by image independent.
        x: (N, ...) points.
        terms: T, the terms summed, at least 1.
        divisors: (T + 1,) d_0 to d_T.
        probe: v as x, independent entries of mean 0 and variance 1.

    Returns:
        F(x) as x, and (N,); both with gradients where those are enabled.
    """
    learning = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        if not (learning and x.requires_grad):
            x = x.clone().detach().requires_grad_()
        probe = probe.clone() if probe.is_inference() else probe
        moved = branch(x)
        w, neumann, value = probe, probe / divisors[0], torch.zeros(len(x), device=x.device)
        for k in range(1, terms + 1):
            (w,) = torch.autograd.grad(moved, x, w, retain_graph=True)
            sign = 1 if k % 2 else -1
            value = value + sign / (k * divisors[k]) * _inner(w, probe)
            neumann = neumann - sign / divisors[k] * w
        if not learning:
            return moved.detach(), value.detach()
        (once,) = torch.autograd.grad(moved, x, neumann, create_graph=True)
        slope = _inner(once, probe)
        return moved, value.detach() + slope - slope.detach()


def drawn(generator: torch.Generator | None = None) -> tuple[int, Tensor]:
    """A random number of terms, EXACT + geometric(1/2), and the probability of reaching each, for no bias."""
    more = int(torch.empty(()).geometric_(0.5, generator=generator))
    reached = 0.5 ** (torch.arange(EXACT + more + 1) - EXACT - 1).clamp_min(0).double()
    return EXACT + more, reached.float()


def truncated(terms: int = TRUNCATED) -> tuple[int, Tensor]:
    """A fixed number of terms: biased by at most L^(T + 1) / ((T + 1) (1 - L)) a dimension, F being L-Lipschitz."""
    return terms, torch.ones(terms + 1)


def probe_like(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Random signs, as x."""
    return torch.empty_like(x).bernoulli_(0.5, generator=generator) * 2 - 1


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)

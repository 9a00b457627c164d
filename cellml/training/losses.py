"""Losses on soft targets, a value a sample, weighted and averaged by `weighted`."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cellml.errors import UserError
from cellml.registry import Registry

Loss = Callable[[Tensor, Tensor], Tensor]  # logits (N, K), targets (N, K) -> (N,)

LOSSES: Registry = Registry("loss")


@LOSSES.register("cross_entropy")
def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of class probabilities, -sum_k t_k log p_k.

    Args:
        logits: (N, K).
        targets: (N, K) class probabilities.

    Returns:
        (N,) in nats.
    """
    return -(targets * F.log_softmax(logits, dim=1)).sum(1)


@LOSSES.register("focal")
def focal(logits: Tensor, targets: Tensor, *, gamma: float = 2.0, alpha: Sequence[float] | None = None) -> Tensor:
    """Focal loss: cross-entropy with easy samples weighted down, -sum_k alpha_k t_k (1 - p_k)^gamma log p_k.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, over softmax probabilities; gamma 0 without alpha is
    the cross-entropy.

    Args:
        logits: (N, K).
        targets: (N, K) class probabilities.
        gamma: how strongly easy samples lose weight, >= 0.
        alpha: K class weights, or None for ones.

    Returns:
        (N,) in nats.
    """
    log_p = F.log_softmax(logits, dim=1)
    terms = targets * log_p * _miss(log_p, gamma)
    if alpha is not None:
        terms = terms * torch.as_tensor(alpha, dtype=terms.dtype, device=terms.device)
    return -terms.sum(1)


@LOSSES.register("mse")
def mse(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error of class probabilities, mean_k (t_k - p_k)^2 over softmax p.

    Args:
        logits: (N, K).
        targets: (N, K) class probabilities.

    Returns:
        (N,) in 0..2/K.
    """
    return (torch.softmax(logits, dim=1) - targets).square().mean(1)


@LOSSES.register("logit_adjustment")
def logit_adjustment(logits: Tensor, targets: Tensor, counts: Tensor, *, tau: float = 1.0) -> Tensor:
    """Cross-entropy of logits moved by the training frequencies, z_k + tau log pi_k, so that plain z favours no class.

    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, eq. 10; tau 0 is the cross-entropy.

    Args:
        logits: (N, K).
        targets: (N, K) class probabilities.
        counts: (K,) label mass of the rows trained on, positive.
        tau: strength, >= 0.

    Returns:
        (N,) in nats.
    """
    return cross_entropy(logits + tau * torch.log(counts / counts.sum()), targets)


@LOSSES.register("asymmetric")
def asymmetric(
    logits: Tensor, targets: Tensor, *, gamma_pos: float = 1.0, gamma_neg: float = 4.0, smoothing: float = 0.1
) -> Tensor:
    """Asymmetric loss: smoothed cross-entropy whose other classes lose weight faster than the true one.

    Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, in the authors' single-label form with
    softmax p: -sum_k ((1 - s + s / K) t_k (1 - p_k)^gamma_pos + s / K (1 - t_k) p_k^gamma_neg) log p_k.

    Args:
        logits: (N, K).
        targets: (N, K) class probabilities.
        gamma_pos: how strongly easy samples lose weight in the true class's term, >= 0.
        gamma_neg: how strongly improbable classes lose weight in the other terms, >= 0.
        smoothing: s, the share of label smoothing; without it the other classes have no term.

    Returns:
        (N,) in nats.
    """
    log_p = F.log_softmax(logits, dim=1)
    other = smoothing / logits.shape[1]
    true = (1 - smoothing + other) * targets * _miss(log_p, gamma_pos)
    return -((true + other * (1 - targets) * torch.exp(gamma_neg * log_p)) * log_p).sum(1)


def build(name: str, options: dict[str, Any], classes: Sequence[str], counts: Sequence[float] | None = None) -> Loss:
    """The named loss with its options bound.

    Args:
        name: a member of LOSSES.
        options: its keyword options (`train.loss_options`).
        classes: the K class names, which per-class options may be keyed by.
        counts: (K,) label mass of the sample that is trained on, which logit adjustment cannot be called without; a
            class without any counts as much as the rarest of the others.

    Raises:
        UserError: an unknown loss or option, a number out of its range, or weights that are not one a class.
    """
    given = LOSSES.options(name, options)
    loss = LOSSES[name]
    for key, value in given.items():
        if key == "alpha":
            given[key] = _per_class(value, classes)
        else:
            _check(key, value)
    if "counts" not in inspect.signature(loss).parameters:
        return lambda logits, targets: loss(logits, targets, **given)
    mass = None if counts is None else _mass(counts, classes)

    def adjusted(logits: Tensor, targets: Tensor) -> Tensor:
        if mass is None:
            raise ValueError(f"the loss {name!r} needs the counts of the rows trained on")
        return loss(logits, targets, mass.to(logits), **given)

    return adjusted


def smooth(targets: Tensor, amount: float) -> Tensor:
    """Label smoothing (Szegedy et al., CVPR 2016): (1 - amount) t + amount / K, (N, K)."""
    return targets * (1 - amount) + amount / targets.shape[1] if amount else targets


def weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of w_i value_i over a batch of N; the weights average 1 over the data set, not over each batch."""
    return (values * weights).mean()


def _miss(log_p: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma: expm1 keeps it exact where p is near 1, the clamp its gradient finite for a gamma below 1."""
    if not gamma:
        return torch.ones_like(log_p)
    return (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny) ** gamma


def _check(key: str, value: Any) -> None:
    wanted = "a number from 0 to below 1" if key == "smoothing" else "a number >= 0"
    top = 1.0 if key == "smoothing" else math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < top:
        raise UserError(f"Expected train.loss_options.{key} to be {wanted}, got {value!r}")


def _mass(counts: Sequence[float], classes: Sequence[str]) -> Tensor:
    mass = torch.as_tensor(counts, dtype=torch.float64)
    if mass.shape != (len(classes),) or not bool((mass >= 0).all()) or not 0 < float(mass.sum()) < math.inf:
        raise ValueError(f"expected one count for each of {list(classes)}, not negative and not all 0, got {counts}")
    return torch.where(mass > 0, mass, mass[mass > 0].min())


def _per_class(alpha: Any, classes: Sequence[str]) -> list[float] | None:
    if alpha is None:
        return None
    if isinstance(alpha, dict):
        missing = [name for name in classes if name not in alpha]
        if missing or len(alpha) != len(classes):
            raise UserError(
                f"Expected train.loss_options.alpha to name the classes {list(classes)}, got {list(alpha)}; "
                "give each of them one weight"
            )
        alpha = [alpha[name] for name in classes]
    if not isinstance(alpha, list | tuple) or len(alpha) != len(classes):
        raise UserError(
            f"Expected train.loss_options.alpha to be {len(classes)} numbers, got {alpha!r}; "
            f"give one for each of {list(classes)}"
        )
    if not all(isinstance(a, int | float) and a >= 0 for a in alpha):
        raise UserError(f"Expected train.loss_options.alpha to be numbers >= 0, got {alpha!r}")
    return [float(a) for a in alpha]

"""Losses on soft targets, a value a sample, weighted and averaged by `weighted`."""

import inspect
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
    terms = targets * log_p
    if gamma:
        # 1 - p from the other classes' sum would be dearer; expm1 keeps it exact where p is near 1, and the clamp keeps
        # the gradient of a power below 1 finite
        terms = terms * (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny) ** gamma
    if alpha is not None:
        terms = terms * torch.as_tensor(alpha, dtype=terms.dtype, device=terms.device)
    return -terms.sum(1)


def build(name: str, options: dict[str, Any], classes: Sequence[str]) -> Loss:
    """The named loss with its options bound.

    Args:
        name: a member of LOSSES.
        options: its keyword options (`train.loss_options`).
        classes: the K class names, which per-class options may be keyed by.

    Raises:
        UserError: an unknown loss or option, a negative gamma, or weights that are not one a class.
    """
    given = LOSSES.options(name, options)
    loss = LOSSES[name]
    if "alpha" in given and "alpha" in inspect.signature(loss).parameters:
        given["alpha"] = _per_class(given["alpha"], classes)
    gamma = given.get("gamma", 0.0)
    if isinstance(gamma, bool) or not isinstance(gamma, int | float) or gamma < 0:
        raise UserError(f"Expected train.loss_options.gamma to be a number >= 0, got {gamma!r}")

    def bound(logits: Tensor, targets: Tensor) -> Tensor:
        return loss(logits, targets, **given)

    return bound


def smooth(targets: Tensor, amount: float) -> Tensor:
    """Label smoothing (Szegedy et al., CVPR 2016): (1 - amount) t + amount / K, (N, K)."""
    return targets * (1 - amount) + amount / targets.shape[1] if amount else targets


def weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of w_i value_i over a batch of N; the weights average 1 over the data set, not over each batch."""
    return (values * weights).mean()


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

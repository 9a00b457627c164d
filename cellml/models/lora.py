"""Low-rank updates of a network's layers: W + (alpha / r) B A, A and B trained instead of W.

After Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685), section 4.1.
"""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from cellml.errors import UserError

USUAL = ("qkv", "q", "k", "v", "kv", "proj", "out_proj", "fc1", "fc2", "mlp.*")  # of attention and of the MLP behind it
_SHOWN = 8


class LowRank(nn.Module):
    """A weight plus its update of rank r; B starts at zero, so that the layer starts as it was.

    A convolution's weight (O, I, h, w) counts as a matrix (O, I h w).

    Args:
        weight: of the layer.
        rank: r.
        alpha: the update is scaled by alpha / r.
    """

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.flatten(1).shape
        self.scale = alpha / rank
        self.a = nn.Parameter(torch.empty(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """W + (alpha / r) B A, shaped as W."""
        return weight + self.scale * (self.b @ self.a).reshape(weight.shape)


def insert(
    name: str, net: nn.Module, *, rank: int, alpha: float, targets: Sequence[str] = (), but: Sequence[nn.Module] = ()
) -> list[str]:
    """Put low-rank updates on layers of a network, in place; A comes from torch's global generator.

    Args:
        name: of the network, for errors.
        net: its own weights stay as they are, and so does what it computes.
        rank: r.
        alpha: the updates are scaled by alpha / r.
        targets: patterns of layers' names, the whole (`blocks.0.attn.qkv`) or its end (`qkv`, `attn.*`), of linear
            layers and convolutions; none: the linear layers that `USUAL` names, in a network without such all linear
            layers and ungrouped convolutions.
        but: modules that get none, nor what lies in them.

    Returns:
        The layers' names.

    Raises:
        UserError: a pattern that matches no layer.
    """
    outside = {id(module) for root in but for module in root.modules()}
    layers = {
        key: module
        for key, module in net.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and id(module) not in outside
    }
    chosen = _matching(name, list(layers), targets) if targets else _usual(layers)
    for key in chosen:
        parametrize.register_parametrization(layers[key], "weight", LowRank(layers[key].weight, rank, alpha))
    return chosen


def parameters(net: nn.Module) -> list[nn.Parameter]:
    """The A and B of a network's updates."""
    return [p for module in net.modules() if isinstance(module, LowRank) for p in module.parameters()]


def merge(net: nn.Module) -> None:
    """Add the updates to the weights, in place: the network is a plain one again and computes the same."""
    for module in list(net.modules()):
        parts: Any = getattr(module, "parametrizations", {})
        if "weight" in parts and any(isinstance(part, LowRank) for part in parts["weight"]):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def _usual(layers: dict[str, nn.Linear | nn.Conv2d]) -> list[str]:
    linear = [key for key, layer in layers.items() if isinstance(layer, nn.Linear)]
    usual = [key for key in linear if any(_matches(key, pattern) for pattern in USUAL)]
    return usual or [key for key, layer in layers.items() if isinstance(layer, nn.Linear) or layer.groups == 1]


def _matches(key: str, pattern: str) -> bool:
    return fnmatchcase(key, pattern) or fnmatchcase(key, f"*.{pattern}")


def _matching(name: str, known: list[str], patterns: Sequence[str]) -> list[str]:
    matched = {pattern: [key for key in known if _matches(key, pattern)] for pattern in patterns}
    for pattern, found in matched.items():
        if not found:
            ends = dict.fromkeys(key.rpartition(".")[2] for key in known)
            named = [end for end in ends if not end.isdigit() and end not in known]
            shown = ", ".join([*known[:2], *known[-2:], *named[:_SHOWN]])
            raise UserError(
                f"Expected patterns of layers in model.lora.targets, {pattern!r} matches none of {name!r}: it has "
                f"{shown} and others; correct the pattern, or leave targets out"
            )
    return [key for key in known if any(key in found for found in matched.values())]

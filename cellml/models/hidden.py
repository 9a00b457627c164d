"""A hidden layer in a network's head: pooled vectors -> normalised -> hidden units -> logits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cellml.errors import UserError

CHILD = "hidden"
PREFIX = f"{CHILD}."  # of its tensors


@dataclass
class _Before:
    """A forward pre-hook that leads pooled vectors, (N, D) or (N, D, 1, 1), through the hidden layer."""

    block: nn.Module

    def __call__(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        x = self.block(inputs[0].flatten(1))
        return x if inputs[0].ndim == 2 else x[:, :, None, None]


def insert(name: str, net: nn.Module, units: int, heads: Sequence[tuple[str, nn.Linear | nn.Conv2d]]) -> None:
    """Put a hidden layer before a network's last one, in place; both start fresh, from torch's global generator.

    The vectors are brought to mean 0 and deviation 1 first, by batch normalisation, since a frozen trunk gives them in
    any scale (as He et al. 2022, arXiv 2111.06377, appendix A.1, do for linear probes).

    Args:
        name: of the network, for errors.
        net: its mode stays as it is.
        units: H of the hidden layer; 0: the network stays as it is.
        heads: the layers that give the logits, by name.

    Raises:
        UserError: a network that averages several heads.
    """
    if not units:
        return
    if len(heads) != 1:
        raise UserError(
            f"Expected a backbone with one last layer for model.mode head, {name!r} averages {len(heads)}; set another "
            "mode, or choose another backbone"
        )
    ((_, last),) = heads
    block = nn.Sequential(nn.BatchNorm1d(last.weight.shape[1]), nn.Linear(last.weight.shape[1], units), nn.GELU())
    last.register_forward_pre_hook(_Before(block))
    last.weight = nn.Parameter(last.weight.new_empty(len(last.weight), units, *last.weight.shape[2:]))
    if isinstance(last, nn.Linear):
        last.in_features = units
    else:
        last.in_channels = units
    last.reset_parameters()
    net.add_module(CHILD, block.train(net.training))


def load(net: nn.Module, state: Mapping[str, torch.Tensor], heads: Sequence[str]) -> None:
    """Load the hidden layer, and the last one, from weights that hold them in these shapes; else both stay fresh.

    Args:
        net: with its hidden layer inserted, or without.
        state: tensors by key, more than these.
        heads: names of the last layers.
    """
    own = net.state_dict()
    inner = [key for key in own if key.startswith(PREFIX)]
    if not inner or any(key not in state or state[key].shape != own[key].shape for key in inner):
        return
    outer = [key for key in own if key.startswith(tuple(f"{head}." for head in heads))]
    fitting = [key for key in outer if key in state and state[key].shape == own[key].shape]
    net.load_state_dict({key: state[key] for key in [*inner, *fitting]}, strict=False)

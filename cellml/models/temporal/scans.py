"""Recurrences as `scan`, which an exported program runs over any number of frames; a Python loop would freeze it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

Cell = Callable[[Tensor, Tensor], Tensor]  # state (N, ...), input (N, ...) -> next state


def over(cell: Cell, start: Tensor, inputs: Tensor, reverse: bool = False) -> Tensor:
    """The states after each input, (N, T, ...).

    Args:
        cell: pure; tensors that it closes over, parameters say, may be read.
        start: (N, ...) state before the first input.
        inputs: (N, T, ...), T >= 1.
        reverse: start at the last input.
    """

    def step(state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        state = cell(state, x)
        return state, state.clone()  # a scan's outputs may not be one tensor

    return scan(step, start, inputs, dim=1, reverse=reverse)[1]


def recurrent(net: nn.GRU | nn.LSTM, x: Tensor) -> Tensor:
    """What a bidirectional network gives in evaluation mode for whole sequences, (N, T, 2 U) of (N, T, D)."""
    for layer in range(net.num_layers):
        x = torch.cat([_direction(net, x, f"_l{layer}{end}", bool(end)) for end in ("", "_reverse")], dim=2)
    return x


def _direction(net: nn.GRU | nn.LSTM, x: Tensor, suffix: str, reverse: bool) -> Tensor:
    w_x, w_h, b_x, b_h = (getattr(net, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    inputs, units = F.linear(x, w_x, b_x), net.hidden_size
    if isinstance(net, nn.GRU):

        def gru(h: Tensor, gates: Tensor) -> Tensor:
            (r_x, z_x, n_x), (r_h, z_h, n_h) = gates.chunk(3, 1), F.linear(h, w_h, b_h).chunk(3, 1)
            z, n = torch.sigmoid(z_x + z_h), torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
            return n + z * (h - n)

        return over(gru, x.new_zeros(x.shape[0], units), inputs, reverse)

    def lstm(state: Tensor, gates: Tensor) -> Tensor:  # hidden and cell side by side
        h, c = state.chunk(2, 1)
        i, f, g, o = (gates + F.linear(h, w_h, b_h)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat([torch.sigmoid(o) * torch.tanh(c), c], dim=1)

    return over(lstm, x.new_zeros(x.shape[0], 2 * units), inputs, reverse)[..., :units]

"""The centre-cell tracker: a recurrent network that draws the cell in the middle while it names the cell's stage."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellml.errors import UserError
from cellml.models.temporal import scans
from cellml.models.temporal.base import WHOLE, Said, SequenceNet

_GROUP = 8  # channels that are normalised together
_GRID = 3  # side of the means of the last maps that the head reads


class ConvGRU(nn.Module):
    """Gated recurrent units of convolutions (Ballas et al. 2016, arXiv 1511.06432), 3 x 3 throughout.

    h' = (1 - z) h + z tanh(W x + U (r h)), with z and r sigmoids of convolutions of x and h.

    Args:
        inputs: channels of x.
        hidden: channels of h.
        norm: group, W x is normalised, or none.
    """

    def __init__(self, inputs: int, hidden: int, norm: str = "none") -> None:
        super().__init__()
        self.hidden = hidden
        self.of_input = nn.Conv2d(inputs, 3 * hidden, 3, padding=1)
        self.norm = normalisation(norm, 3 * hidden)
        self.gates = nn.Conv2d(hidden, 2 * hidden, 3, padding=1, bias=False)
        self.candidate = nn.Conv2d(hidden, hidden, 3, padding=1, bias=False)
        nn.init.xavier_normal_(self.of_input.weight, gain=nn.init.calculate_gain("tanh"))
        nn.init.xavier_normal_(self.gates.weight)
        nn.init.xavier_normal_(self.candidate.weight)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """States (N, T, H, h, w) of maps (N, T, C, h, w) and the state before them, (N, H, h, w) or None for 0."""
        inputs = frames_of(self.norm, frames_of(self.of_input, x))
        if state is None:
            state = inputs.new_zeros(x.shape[0], self.hidden, *x.shape[3:])
        if torch.compiler.is_exporting():
            return scans.over(self._step, state, inputs)
        states = []
        for one in inputs.unbind(1):
            state = self._step(state, one)
            states.append(state)
        return torch.stack(states, dim=1)

    def _step(self, state: Tensor, inputs: Tensor) -> Tensor:
        of_gates, of_candidate = inputs.split((2 * self.hidden, self.hidden), 1)
        z, r = torch.sigmoid(of_gates + self.gates(state)).chunk(2, 1)
        candidate = torch.tanh(of_candidate + self.candidate(r * state))
        return state + z * (candidate - state)


class Tracker(SequenceNet):
    """Encoder, three layers of ConvGRU, a decoder that draws the masked centre cell, and a head on every frame.

    Convolutions of the encoder with ReLU, the first followed by max pooling, as is each recurrent layer but the last;
    with S = 96 these work at 48, 24 and 12 pixels. The decoder's transposed convolutions lead back to S. The head reads
    the last states' means on a grid of 3 x 3. Weights start after He et al. 2015 (arXiv 1502.01852) before a ReLU and
    after Glorot and Bengio 2010 before a tanh: from torch's own start a network this deep without normalisation hardly
    moves.

    Args:
        channels: C.
        num_classes: K.
        size: S, a multiple of 2 to the number of recurrent layers.
        encoder: channels of the encoder's convolutions.
        hidden: channels of the recurrent layers' states.
        decoder: channels of the decoder's transposed convolutions but the last, one fewer than recurrent layers.
        norm: group (Wu and He 2018, arXiv 1803.08494), of each frame's maps behind the encoder and of the
            recurrent layers' inputs, or none.
        units: of the head's hidden layer.
        dropout: before the head's last layer.

    Raises:
        UserError: sizes that do not go together.
    """

    causal = True
    draws = True

    def __init__(
        self,
        channels: int,
        num_classes: int,
        size: int,
        *,
        encoder: Sequence[int] = (8, 16, 32),
        hidden: Sequence[int] = (32, 64, 128),
        decoder: Sequence[int] = (64, 32),
        norm: str = "group",
        units: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if size % 2 ** len(hidden) or len(decoder) != len(hidden) - 1:
            raise UserError(
                f"Expected input.size a multiple of {2 ** len(hidden)} and {len(hidden) - 1} widths in "
                f"sequence.tracker.decoder for {len(hidden)} recurrent layers, got {size} and {list(decoder)}"
            )
        self.num_classes = num_classes
        widths = [channels, *encoder]
        self.encoder = nn.Sequential()
        for k, (inner, outer) in enumerate(pairwise(widths)):
            self.encoder.extend([nn.Conv2d(inner, outer, 3, padding=1), normalisation(norm, outer), nn.ReLU()])
            if not k:
                self.encoder.append(nn.MaxPool2d(2))
        widths = [widths[-1], *hidden]
        self.layers = nn.ModuleList(ConvGRU(inner, outer, norm) for inner, outer in pairwise(widths))
        widths = [hidden[-1], *decoder, channels]
        self.decoder = nn.Sequential()
        for k, (inner, outer) in enumerate(pairwise(widths)):
            self.decoder.extend([nn.ReLU()] if k else [])
            self.decoder.append(nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1))
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(_GRID), nn.Flatten(), nn.Linear(hidden[-1] * _GRID**2, units), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(units, num_classes),
        )  # fmt: skip
        for layer in (*self.encoder, *self.head):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one

    def run(
        self, frames: Tensor, lengths: Tensor | None = None, state: tuple[Tensor, ...] = (), draw: bool = False
    ) -> Said:
        """See `SequenceNet.run`; `lengths` need not be known, since no frame sees those after it."""
        x = frames_of(self.encoder, frames)
        last = []
        for k, layer in enumerate(self.layers):
            x = frames_of(F.max_pool2d, x, 2) if k else x
            x = layer(x, state[k] if state else None)
            last.append(x[:, -1])
        drawn = frames_of(self.decoder, x) if draw else None
        return Said(frames_of(self.head, x), drawn, tuple(last))


@WHOLE.register("tracker")
def tracker(channels: int, num_classes: int, size: int, dropout: float, sizes: Mapping[str, Any]) -> Tracker:
    """Convolutions and ConvGRU that draw the centre cell while they name its stage, for 96 px by default."""
    return Tracker(channels, num_classes, size, dropout=dropout, units=sizes["units"], **sizes["tracker"])


def normalisation(norm: str, channels: int) -> nn.Module:
    """Group normalisation of about eight channels together, or nothing."""
    groups = next(n for n in range(max(channels // _GROUP, 1), 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels) if norm == "group" else nn.Identity()


def frames_of(layer: Callable[..., Tensor], x: Tensor, *given: int) -> Tensor:
    """A layer of images on every frame: (N, T, ...) of (N, T, C, h, w)."""
    return layer(x.flatten(0, 1), *given).unflatten(0, x.shape[:2])

"""Temporal parts: vectors of frames (N, T, D) in, vectors that know their neighbours in time (N, T, width) out.

Each is made as `part(inputs, units=, layers=)` and called with the vectors and, where sequences are padded, their
lengths (N,).
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cellml.models.temporal import scans
from cellml.models.temporal.base import real
from cellml.registry import Registry

PARTS: Registry = Registry("temporal part")
_DILATIONS = (1, 2, 4, 8)


class Recurrent(nn.Module):
    """A bidirectional recurrent network; in an exported program a scan with the same weights, of any length.

    It computes in single precision whatever surrounds it.
    """

    def __init__(self, net: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.net = net
        self.width = 2 * net.hidden_size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(N, T, width) of (N, T, D); each direction starts at its own end of each sequence."""
        if torch.compiler.is_exporting():
            return scans.recurrent(self.net, x)
        with torch.autocast(x.device.type, enabled=False):
            if lengths is None:
                return self.net(x.float())[0]
            packed = pack_padded_sequence(x.float(), lengths.cpu(), batch_first=True, enforce_sorted=False)
            return pad_packed_sequence(self.net(packed)[0], batch_first=True, total_length=x.shape[1])[0]


@PARTS.register("gru")
def gru(inputs: int, *, units: int, layers: int) -> Recurrent:
    """Bidirectional gated recurrent units (Cho et al. 2014, arXiv 1406.1078)."""
    return Recurrent(nn.GRU(inputs, units, layers, batch_first=True, bidirectional=True))


@PARTS.register("lstm")
def lstm(inputs: int, *, units: int, layers: int) -> Recurrent:
    """Bidirectional long short-term memory (Hochreiter and Schmidhuber 1997)."""
    return Recurrent(nn.LSTM(inputs, units, layers, batch_first=True, bidirectional=True))


class Residual(nn.Module):
    """x + W relu(dilated convolution of x) over 3 frames, padding kept at 0."""

    def __init__(self, units: int, dilation: int) -> None:
        super().__init__()
        self.over = nn.Conv1d(units, units, 3, padding=dilation, dilation=dilation)
        self.out = nn.Conv1d(units, units, 1)

    def forward(self, x: Tensor, inside: Tensor | None) -> Tensor:
        """(N, U, T) of (N, U, T); `inside` is (N, 1, T), 0 at padding, or None."""
        x = x + self.out(torch.relu(self.over(x)))
        return x if inside is None else x * inside


@PARTS.register("tcn")
class TemporalConvolution(nn.Module):
    """Residual dilated convolutions over time, dilations 1, 2, 4, 8 a layer (Farha and Gall 2019, arXiv 1903.01945)."""

    def __init__(self, inputs: int, *, units: int, layers: int) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, units)
        self.blocks = nn.ModuleList([Residual(units, dilation) for _ in range(layers) for dilation in _DILATIONS])
        self.width = units

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(N, T, U) of (N, T, D); a frame sees 15 L frames to either side."""
        inside = None if lengths is None else real(lengths, x.shape[1])[:, None].to(x.dtype)
        x = self.inner(x).transpose(1, 2)
        x = x if inside is None else x * inside
        for block in self.blocks:
            x = block(x, inside)
        return x.transpose(1, 2)

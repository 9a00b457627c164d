"""Invertible layers with exact log-determinants: squeezing, scaling, mixing channels, coupling."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALLEST = 0.05  # deviation of a channel that is scaled up: flat ones are not blown up


class Squeeze(nn.Module):
    """Each 2 x 2 pixels become four channels: (N, C, h, w) -> (N, 4 C, h / 2, w / 2)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 4 C, h / 2, w / 2)."""
        return F.pixel_unshuffle(x, 2)

    def inverse(self, y: Tensor) -> Tensor:
        """(N, C, h, w)."""
        return F.pixel_shuffle(y, 2)

    def with_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The maps and zeros (N,)."""
        return self(x), x.new_zeros(len(x))


class ActNorm(nn.Module):
    """A factor and an offset a channel, which give the first training batch mean 0 and deviation 1 (Kingma 2018)."""

    ready: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.offset = nn.Parameter(torch.zeros(channels))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))
        self._seen = False  # the same without asking the device at every step

    def forward(self, x: Tensor) -> Tensor:
        """(x - offset) exp(log_scale), (N, C, h, w)."""
        if self.training and not self._seen:
            self._start(x.detach())
        return (x - _plane(self.offset)) * _plane(self.log_scale).exp()

    def inverse(self, y: Tensor) -> Tensor:
        """(N, C, h, w)."""
        return y * _plane(-self.log_scale).exp() + _plane(self.offset)

    def with_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The maps and h w sum(log_scale), (N,)."""
        y = self(x)
        return y, (self.log_scale.sum() * x[0, 0].numel()).expand(len(x))

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        self._seen = True
        if self.ready:
            return
        self.offset.copy_(x.mean((0, 2, 3)))
        self.log_scale.copy_(-x.std((0, 2, 3)).clamp_min(_SMALLEST).log())
        self.ready.fill_(True)


class Mix(nn.Module):
    """An invertible 1 x 1 convolution (Kingma and Dhariwal 2018, Glow, arXiv 1807.03039, 3.2), at first a rotation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w)."""
        return F.conv2d(x, self.weight[:, :, None, None])

    def inverse(self, y: Tensor) -> Tensor:
        """(N, C, h, w)."""
        back = torch.linalg.inv(self.weight.double()).to(y.dtype)
        return F.conv2d(y, back[:, :, None, None])

    def with_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The maps and h w log |det W|, (N,)."""
        return self(x), (torch.linalg.slogdet(self.weight)[1] * x[0, 0].numel()).expand(len(x))


class Coupling(nn.Module):
    """One half of the channels scaled and moved by what a small network says of the other (Dinh 2017, Kingma 2018).

    y = (a, b exp(s) + t), s and t from convolutions 3 x 3, 1 x 1, 3 x 3 of a, |s| < 1; the identity at first.

    Args:
        channels: C of the maps, at least 2.
        width: channels between the convolutions.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.halves = [channels // 2, channels - channels // 2]
        last = nn.Conv2d(width, 2 * self.halves[1], 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # it has one
        first = nn.Conv2d(self.halves[0], width, 3, padding=1)
        self.net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w)."""
        return self.with_log_det(x)[0]

    def inverse(self, y: Tensor) -> Tensor:
        """(N, C, h, w)."""
        a, b = y.split(self.halves, dim=1)
        s, t = self._change(a)
        return torch.cat([a, (b - t) * (-s).exp()], dim=1)

    def with_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The maps and sum(s), (N,)."""
        a, b = x.split(self.halves, dim=1)
        s, t = self._change(a)
        return torch.cat([a, b * s.exp() + t], dim=1), s.flatten(1).sum(1)

    def _change(self, a: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.net(a).chunk(2, dim=1)
        return torch.tanh(s), t


def _plane(values: Tensor) -> Tensor:
    return values[None, :, None, None]

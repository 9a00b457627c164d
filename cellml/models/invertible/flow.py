"""A classifier of invertible stages: maps of all scales on, the pooled last ones to logits, and all of it back."""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellml.models.generative import Generative
from cellml.models.invertible.heads import HEADS, pool


class Stage(nn.Sequential):
    """Invertible layers in a row."""

    def inverse(self, y: Tensor) -> Tensor:
        """Back through the layers, (N, C, h, w)."""
        for layer in reversed(list(self)):
            y = layer.inverse(y)  # type: ignore[operator]  # a layer's
        return y

    def with_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The last maps and the sum of the log-determinants, (N,)."""
        total = x.new_zeros(len(x))
        for layer in self:
            x, found = layer.with_log_det(x)  # type: ignore[operator]  # a layer's
            total = total + found
        return x, total


class Flow(Generative):
    """Images (N, C, S, S) to embeddings z of as many numbers, (N, C 4^L, S / 2^L, S / 2^L), after L stages.

    A side that is no multiple of 2^L is filled up by repeating its last row and column, which the way back cuts off
    again; the likelihood is then that of the filled image.

    Args:
        channels: C.
        num_classes: K.
        size: S in pixels.
        stages: each begins with squeezing.
        dropout: of the pooled embedding, before the last layer.
        head: linear, or gaussian: a class-conditional density.
        likelihood: weight, beside the class loss, of the negative log-likelihood in nats a dimension; 0: class alone.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        size: int,
        stages: Iterable[Sequence[nn.Module]],
        *,
        dropout: float,
        head: str,
        likelihood: float,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"expected head {' or '.join(HEADS)}, got {head!r}")
        if not 0 <= likelihood < math.inf:
            raise ValueError(f"expected likelihood 0 or above, got {likelihood}")
        self.num_classes, self.size, self.likelihood = num_classes, size, likelihood
        self.stages = nn.ModuleList([Stage(*layers) for layers in stages])
        self.filled = -size % 2 ** len(self.stages)
        self.fc = HEADS[head](channels * 4 ** len(self.stages), num_classes, dropout)
        self.feature_info = [
            {"module": f"stages.{k}", "num_chs": channels * 4 ** (k + 1), "reduction": 2 ** (k + 1)}
            for k in range(len(self.stages))
        ]

    def get_classifier(self) -> nn.Linear:
        """The last layer, as timm's networks have it."""
        return self.fc

    def encode(self, x: Tensor) -> Tensor:
        """Embeddings (N, D, h, w) of images (N, C, S, S)."""
        x = self._fill(x)
        for stage in self.stages:
            x = stage(x)
        return x

    def decode(self, z: Tensor) -> Tensor:
        """Images (N, C, S, S) of embeddings (N, D, h, w).

        Raises:
            NoContraction: a residual block that does not contract.
        """
        for stage in reversed(self.stages):
            z = stage.inverse(z)  # type: ignore[operator]  # a stage's
        return z[:, :, : self.size, : self.size]

    def logits(self, z: Tensor) -> Tensor:
        """Logits (N, K), a linear function of embeddings (N, D, h, w)."""
        return self.fc(pool(z))

    def learn(self, x: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K), and `likelihood` times the weighted mean negative log-likelihood in nats a dimension.

        Information bottleneck of Ardizzone et al. 2020, arXiv 2001.06448, eq. 8, `likelihood` being 1 / beta.
        """
        if not self.likelihood:
            return self(x), x.new_zeros(())
        z, density = self._walk(x)
        return self.logits(z), -self.likelihood * (density * weights).mean() / z[0].numel()

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(z) + log |det dz/dx| of images (N, C, S, S), in nats, (N,)."""
        return self._walk(x)[1]

    def _walk(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            x = self._fill(x.float())
            total = x.new_zeros(len(x))
            for stage in self.stages:
                x, found = stage.with_log_det(x)  # type: ignore[operator]  # a stage's
                total = total + found
            return x, self.fc.log_density(x) + total

    def _fill(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, self.filled, 0, self.filled), mode="replicate") if self.filled else x

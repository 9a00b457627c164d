"""Image backbones of our own, beside timm's and torchvision's."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from cellml.models.autoencoder import Autoencoder
from cellml.models.invertible.networks import CouplingFlow, IResNet
from cellml.registry import Registry

OWN: Registry = Registry("backbone")
OWN.register("iresnet")(IResNet)
OWN.register("coupling")(CouplingFlow)
OWN.register("autoencoder")(Autoencoder)


@OWN.register("mitosis_cnn")
class MitosisCNN(nn.Module):
    """Five blocks of 5 x 5 convolution, ReLU and max pooling, a dense layer and the last one; no normalisation.

    As mitotic stages of CHO cells in time-lapse movies were classified with it.

    Args:
        channels: C of the input.
        num_classes: K.
        size: S, side of the input in pixels, at least 2 to the number of blocks.
        dropout: before the last layer.
        filters: of each block.
        units: of the dense layer.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        size: int,
        *,
        dropout: float = 0.0,
        filters: Sequence[int] = (32, 64, 64, 64, 64),
        units: int = 1000,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        widths = [channels, *filters]
        self.blocks = nn.Sequential(*(_block(*pair) for pair in pairwise(widths)))
        side = size // 2 ** len(filters)
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Linear(filters[-1] * side**2, units), nn.ReLU(), nn.Dropout(dropout)
        )
        self.fc = nn.Linear(units, num_classes)
        self.feature_info = [
            {"module": f"blocks.{k}", "num_chs": width, "reduction": 2 ** (k + 1)} for k, width in enumerate(filters)
        ]

    def get_classifier(self) -> nn.Linear:
        """The last layer, as timm's networks have it."""
        return self.fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, (N, K) of (N, C, S, S)."""
        return self.fc(self.dense(self.blocks(x)))


def build(
    name: str, channels: int, num_classes: int, *, size: int, dropout: float, options: dict[str, Any]
) -> nn.Module:
    """A freshly initialised network of our own.

    Raises:
        TypeError: an option that it does not take.
        RuntimeError, ValueError: a size that it cannot be built for.
    """
    return OWN[name](channels, num_classes, size, dropout=dropout, **options)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))

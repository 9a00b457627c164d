"""What every network on sequences has in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cellml.registry import Registry

WHOLE: Registry = Registry("sequence model")  # networks on sequences without an image backbone of their own


@dataclass(frozen=True)
class Said:
    """What a network says of a piece of sequences.

    Attributes:
        logits: (N, T, K).
        drawn: logits of the pixels it draws of each frame, (N, T, C, S, S), or None where it draws none.
        state: what it carries over to the next piece, tensors (N, ...), empty where it carries nothing.
    """

    logits: Tensor
    drawn: Tensor | None = None
    state: tuple[Tensor, ...] = ()


class SequenceNet(nn.Module, ABC):
    """Normalised frames (N, T, C, S, S) to logits (N, T, K), which padding at the end of a sequence never changes.

    Attributes:
        causal: a frame's logits depend on it and earlier frames alone, so that a state leads from piece to piece.
        draws: it can draw what it looks at, see `Said.drawn`.
        num_classes: K.
    """

    causal = False
    draws = False
    num_classes: int

    @abstractmethod
    def run(
        self,
        frames: Tensor,
        lengths: Tensor | None = None,
        state: tuple[Tensor, ...] = (),
        draw: bool = False,
    ) -> Said:
        """A piece of sequences.

        Args:
            frames: (N, T, C, S, S), normalised.
            lengths: (N,) how many of the T frames are real, each at least 1; None: all.
            state: of the piece before, empty at the start; taken by causal networks.
            draw: also draw; networks that cannot ignore it.
        """

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (N, T, K) of whole sequences."""
        return self.run(frames, lengths).logits


def real(lengths: Tensor, frames: int) -> Tensor:
    """Which places of padded sequences hold frames, (N, T) bool, of their lengths (N,) and T."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]

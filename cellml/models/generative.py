"""What every network has that classifies images and can also turn an embedding back into an image."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class Generative(nn.Module, ABC):
    """A backbone with a way back: images x (N, C, S, S) -> embeddings z -> images, and z -> logits (N, K).

    Images are what a classifier's `normalise` gives. `forward` is `logits(encode(x))`, what is trained on the class,
    exported and explained; the way back is for a network in evaluation mode.
    """

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Embeddings z, (N, D, ...) of images (N, C, S, S)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Images (N, C, S, S) of embeddings."""

    @abstractmethod
    def logits(self, z: Tensor) -> Tensor:
        """Logits (N, K) of embeddings."""

    @abstractmethod
    def learn(self, x: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """One pass for a training step: what the class loss is taken of, and the terms beside it.

        Args:
            x: (N, C, S, S) normalised images.
            targets: (N, K) class probabilities.
            weights: (N,) of the images, with mean 1 over the data set.

        Returns:
            Logits (N, K), and the weighted mean of the further terms, a scalar; zero where there are none.
        """

    @abstractmethod
    def log_likelihood(self, x: Tensor) -> Tensor:
        """Natural logarithm of the density of normalised images (N, C, S, S), or a bound below it, (N,)."""

    def loss(self, x: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """The terms of the training loss beside the class's, a scalar; arguments as of `learn`."""
        return self.learn(x, targets, weights)[1]

    def settle(self) -> None:
        """Derive what evaluation needs from the present weights, where these were changed other than by training."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, K) of (N, C, S, S)."""
        return self.logits(self.encode(x))

    @torch.no_grad()
    def round_trip(self, x: Tensor) -> Tensor:
        """Relative error |decode(encode(x)) - x| / |x| of each of some images (N, C, S, S), (N,)."""
        gone = (self.decode(self.encode(x)) - x).flatten(1).norm(dim=1)
        return gone / x.flatten(1).norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)


def checked(name: str, values: Any, least: int) -> list[int]:
    """Whole numbers, one a stage, each at least `least`.

    Raises:
        ValueError: others, or none.
    """
    given = list(values) if isinstance(values, list | tuple) else []
    if not given or not all(isinstance(value, int) and value >= least for value in given):
        raise ValueError(f"expected {name} as whole numbers of at least {least}, one a stage, got {values}")
    return given

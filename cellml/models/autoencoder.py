"""A convolutional autoencoder, variational or not, with a linear classifier on its latent."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellml.errors import UserError
from cellml.models import zoo
from cellml.models.generative import Generative, checked
from cellml.models.invertible.heads import pool

DRAWS = 8  # of the latent, for a log-likelihood
_LEAST = 1e-4  # variance of normalised pixel values about their reconstruction
_MOMENTUM = 0.1


class Autoencoder(Generative):
    """Images (N, C, S, S) to a latent (N, D, h, w) and back; logits are a linear function of the latent, pooled.

    The latent is maps of h = w = S / 2^L after L stages, which keep what stands where, or D numbers, h = w = 1, one
    code of the whole image.

    Variational (Kingma and Welling 2014, arXiv 1312.6114): q(z|x) = N(m(x), diag s(x)^2), p(z) = N(0, I) and
    p(x|z) = N(decode(z), v), one variance v a channel, that of what is left in the training batch (the optimal one:
    Rybkin et al. 2021, sigma-VAE, arXiv 2006.13202). `encode` gives m(x). Not variational: z = m(x), |z|^2 / 2 in
    place of the divergence (Ghosh et al. 2020, arXiv 1903.12436).

    A side that is no multiple of 2^L is filled up by repeating its last row and column, which the way back
    cuts off again.

    Args:
        channels: C.
        num_classes: K.
        size: S in pixels.
        dropout: before the last layer.
        widths: channels of each stage; a stage halves the side.
        latent: D.
        maps: the latent is maps; else numbers.
        variational: draw z in training.
        reconstruction: weight, beside the class loss, of the negative log-likelihood given z in nats a pixel value.
        kl: weight of the divergence of q(z|x) from p(z), in nats over the number of pixel values too.
    """

    noise: Tensor

    def __init__(
        self,
        channels: int,
        num_classes: int,
        size: int,
        *,
        dropout: float = 0.0,
        widths: Sequence[int] = (32, 64, 128),
        latent: int = 16,
        maps: bool = True,
        variational: bool = True,
        reconstruction: float = 1.0,
        kl: float = 1.0,
    ) -> None:
        super().__init__()
        filters = checked("widths", widths, 1)
        if not isinstance(latent, int) or latent < 1:
            raise ValueError(f"expected latent as a whole number of at least 1, got {latent}")
        for name, weight in (("reconstruction", reconstruction), ("kl", kl)):
            if not 0 <= weight < math.inf:
                raise ValueError(f"expected {name} 0 or above, got {weight}")
        self.num_classes, self.size, self.variational = num_classes, size, variational
        self.reconstruction, self.kl = reconstruction, kl
        self.filled = -size % 2 ** len(filters)
        kernel = 1 if maps else (size + self.filled) // 2 ** len(filters)
        self.stages = nn.Sequential(*(_down(*pair) for pair in pairwise([channels, *filters])))
        self.posterior = nn.Conv2d(filters[-1], 2 * latent if variational else latent, kernel)
        self.start = nn.ConvTranspose2d(latent, filters[-1], kernel)
        upwards = [_up(*pair) for pair in pairwise(filters[::-1])]
        self.back = nn.Sequential(*_settled(filters[-1]), *upwards, _double(filters[0], channels, bias=True))
        self.fc = zoo.Linear(latent, num_classes, dropout)
        self.register_buffer("noise", torch.ones(channels))
        self.feature_info = [
            {"module": f"stages.{k}", "num_chs": width, "reduction": 2 ** (k + 1)} for k, width in enumerate(filters)
        ]

    def get_classifier(self) -> nn.Linear:
        """The last layer, as timm's networks have it."""
        return self.fc

    def encode(self, x: Tensor) -> Tensor:
        """Means m(x) of the latent, (N, D, h, w) of images (N, C, S, S)."""
        return self._latent(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Means (N, C, S, S) of the images of latents (N, D, h, w)."""
        return self.back(self.start(z))[:, :, : self.size, : self.size]

    def logits(self, z: Tensor) -> Tensor:
        """Logits (N, K), a linear function of latents (N, D, h, w)."""
        return self.fc(pool(z))

    def learn(self, x: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) of a drawn latent, and the weighted mean of -r log p(x|z) + k KL(q(z|x) | p(z)).

        r and k are the options `reconstruction` and `kl`, both terms over the number of pixel values of an image; with
        r = k it is r times the negative evidence lower bound (Kingma and Welling 2014, eq. 3).
        """
        mean, spread = self._latent(x)
        z = self._draw(mean, spread)
        left = self._left(x, z)
        variance = left.detach().mean(0).clamp_min(_LEAST)
        if self.training:
            self.noise.lerp_(variance, _MOMENTUM)
        terms = self.reconstruction * _surprise(left, variance).mean(1)
        terms = terms + self.kl * divergence(mean, spread) / x[0].numel()
        return self.logits(z), (terms * weights).mean()

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Evidence lower bound E log p(x|z) - KL(q(z|x) | p(z)) of images (N, C, S, S), in nats, (N,).

        The expectation is a mean over some draws of z: an unbiased estimate.

        Raises:
            UserError: not variational.
        """
        if not self.variational:
            raise UserError(
                "Expected a variational autoencoder, this one has no density; set model.options variational: true"
            )
        mean, spread = self._latent(x)
        surprises = [_surprise(self._left(x, self._draw(mean, spread)), self.noise) for _ in range(DRAWS)]
        per_value = torch.stack(surprises).mean((0, 2))
        return -per_value * x[0].numel() - divergence(mean, spread)

    def _latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, (N, D, h, w) each; variance 1 where not variational."""
        if self.filled:
            x = F.pad(x, (0, self.filled, 0, self.filled), mode="replicate")
        told = self.posterior(self.stages(x)).to(x.dtype)
        if not self.variational:
            return told, torch.zeros_like(told)
        mean, spread = told.chunk(2, dim=1)
        return mean, spread.clamp(-10, 10)

    def _draw(self, mean: Tensor, spread: Tensor) -> Tensor:
        return mean + (spread / 2).exp() * torch.randn_like(mean) if self.variational else mean

    def _left(self, x: Tensor, z: Tensor) -> Tensor:
        """Mean squared error of each channel, (N, C)."""
        return (self.decode(z).to(x.dtype) - x).square().mean((2, 3))


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(m, diag s^2) | N(0, I)) = sum(m^2 + s^2 - 1 - log s^2) / 2 in nats, (N,) of (N, ...) each."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1) / 2


def _surprise(left: Tensor, variance: Tensor) -> Tensor:
    """-log N(x; decode(z), v) in nats a pixel value, (N, C) of mean squared errors (N, C) and variances (C,)."""
    return (left / variance + variance.log() + math.log(2 * math.pi)) / 2


def _settled(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(width), nn.SiLU()


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False), *_settled(outputs))


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_double(inputs, outputs), *_settled(outputs))


def _double(inputs: int, outputs: int, bias: bool = False) -> nn.ConvTranspose2d:
    """Twice the side; a kernel that the stride divides leaves no checkerboard (Odena et al. 2016)."""
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)

"""Linear classifiers of a flow's pooled embedding, and the density that each gives the embedding."""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellml.models import zoo


def pool(z: Tensor) -> Tensor:
    """The sum over positions over the root of their number, (N, C) of (N, C, h, w): a part of z in a rotated frame.

    What is left of z is orthogonal to it: |z|^2 = |pool(z)|^2 + |rest|^2, and a linear function of it is one of z.
    """
    return z.flatten(2).sum(2) / math.sqrt(z[0, 0].numel())


class Head(zoo.Linear, ABC):
    """Pooled embeddings (N, C) to logits (N, K), with a density of whole embeddings."""

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """log p(z), (N,) of (N, C, h, w)."""


class LinearHead(Head):
    """Any linear layer; the density of z is standard normal, whatever the class.

    Classifier and density share the embedding (Nalisnick et al. 2019, arXiv 1902.02767).
    """

    def log_density(self, z: Tensor) -> Tensor:
        """log N(z; 0, I), (N,) of (N, C, h, w)."""
        return _standard(z)


class GaussianHead(Head):
    """Class-conditional Gaussians of the pooled embedding e; the rest of z is standard normal.

    p(z) = sum_k pi_k N(e; m_k, I) N(rest; 0, I), and the logits are log pi_k N(e; m_k, I) without what the classes
    share: e m_k - |m_k|^2 / 2 + log pi_k (Ardizzone et al. 2020, IB-INN, arXiv 2001.06448). The weights are the means,
    the biases the logarithms of pi up to a constant.
    """

    def reset_parameters(self) -> None:
        """Means near each other, equal shares."""
        nn.init.normal_(self.weight, std=0.1)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of pooled embeddings (N, C)."""
        return super().forward(x) - self.weight.square().sum(1) / 2

    def log_density(self, z: Tensor) -> Tensor:
        """Of the mixture, (N,) of (N, C, h, w)."""
        shares = F.log_softmax(self.bias, dim=0) - self.weight.square().sum(1) / 2
        return _standard(z) + torch.logsumexp(F.linear(pool(z), self.weight, shares), dim=1)


HEADS: dict[str, type[Head]] = {"linear": LinearHead, "gaussian": GaussianHead}


def _standard(z: Tensor) -> Tensor:
    return -(z.flatten(1).square().sum(1) + z[0].numel() * math.log(2 * math.pi)) / 2

"""VICReg: two views of an image are to be alike, an embedding's dimensions neither constant nor redundant.

Bardes, Ponce and LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning"
(arXiv 2105.04906), section 4.1 and algorithm 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0  # lambda, mu and nu of the paper
_EPSILON = 1e-4


@dataclass(frozen=True)
class Terms:
    """The three terms of the loss, not weighted: scalars."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor

    @property
    def loss(self) -> Tensor:
        """The weighted sum."""
        return INVARIANCE * self.invariance + VARIANCE * self.variance + COVARIANCE * self.covariance


def terms(first: Tensor, second: Tensor) -> Terms:
    """The loss of the embeddings of two views, both (N, D), N >= 2.

    Invariance is the mean squared difference; variance the mean of max(0, 1 - sqrt(Var(z_j) + 1e-4)) over dimensions;
    covariance the sum of the squared covariances of different dimensions over D; the last two summed over the views.
    """
    parts = [(_spread(z), _redundancy(z)) for z in (first, second)]
    return Terms(
        invariance=(first - second).square().mean(),
        variance=parts[0][0] + parts[1][0],
        covariance=parts[0][1] + parts[1][1],
    )


def projector(features: int, width: int) -> nn.Module:
    """Three linear layers with batch normalisation and ReLU between them, (N, features) -> (N, width)."""
    return nn.Sequential(
        *(nn.Linear(features, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()),
        *(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()),
        nn.Linear(width, width, bias=False),
    )


def _spread(z: Tensor) -> Tensor:
    return torch.relu(1 - torch.sqrt(z.var(dim=0) + _EPSILON)).mean()


def _redundancy(z: Tensor) -> Tensor:
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]

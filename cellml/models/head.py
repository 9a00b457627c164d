"""The last layer alone: a linear classifier on embeddings, for frozen backbones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special
import threadpoolctl
import torch
from torch import nn

from cellml.errors import UserError
from cellml.models import backbones

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """A linear classifier: logits = embeddings @ weight.T + bias.

    Attributes:
        weight: (K, D).
        bias: (K,).
    """

    weight: Array
    bias: Array

    def probabilities(self, embeddings: npt.NDArray) -> Array:
        """Softmax of the logits, (N, K) of (N, D)."""
        return scipy.special.softmax(embeddings @ self.weight.T + self.bias, axis=1)


def fit(
    embeddings: npt.NDArray,
    targets: npt.NDArray,
    num_classes: int,
    *,
    weights: npt.NDArray | None = None,
    l2: float = 0.01,
    max_iterations: int = 500,
) -> Head:
    """Multinomial logistic regression on standardised embeddings.

    Minimises mean_i(w_i CE_i) + l2 / 2 ||W||^2, W on features of mean 0 and standard deviation 1 and the bias free
    (Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 4.4), by L-BFGS in double precision. It is
    scikit-learn's LogisticRegression with C = 1 / (l2 N), for soft targets too.

    Args:
        embeddings: (N, D).
        targets: (N,) class index, or (N, K) label probabilities.
        num_classes: K.
        weights: (N,) of the rows' losses, brought to mean 1; None: all equal.
        l2: strength of the penalty.
        max_iterations: of L-BFGS.

    Raises:
        UserError: embeddings that are not finite.
    """
    x = np.asarray(embeddings, dtype=np.float64)
    if not np.isfinite(x).all():
        raise UserError("Expected finite embeddings, got NaN or infinity: the backbone's weights are damaged")
    labels = np.asarray(targets)
    soft = np.eye(num_classes)[labels] if labels.ndim == 1 else labels.astype(np.float64)
    if soft.shape != (len(x), num_classes):
        raise ValueError(f"expected targets (N,) or {(len(x), num_classes)}, got {labels.shape}")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / w.sum()
    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std <= 1e-6 * np.abs(mean)] = 1.0  # constant, to the precision of a network's output
    x = (x - mean) / std
    start = np.zeros((num_classes, x.shape[1] + 1))
    with threadpoolctl.threadpool_limits(1, user_api="blas"):  # products this thin only lose by waiting for threads
        result = scipy.optimize.minimize(
            _loss,
            start.ravel(),
            args=(x, soft, w, l2),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iterations, "gtol": 1e-7, "ftol": 1e-13, "maxcor": 20},
        )
    solution = result.x.reshape(start.shape)
    weight = solution[:, :-1] / std
    return Head(weight, solution[:, -1] - weight @ mean)


def put(net: nn.Module, head: Head, channels: int, size: int) -> None:
    """Make a fitted head the network's last layer, so that the network gives the head's logits.

    Families that average several heads get the head's columns in as many parts, each times their number. The result
    is checked on two random images.

    Args:
        net: from `backbones.create`, changed in place and left in evaluation mode.
        head: fitted on what `backbones.embed` gave with this network in evaluation mode.
        channels: of the input, for the check.
        size: side of the input in pixels, for the check.

    Raises:
        UserError: a family whose logits are no linear function of its embedding.
    """
    layers = [layer for _, layer in backbones.last_layers(net)]
    at = 0
    for layer in layers:
        inputs = layer.weight[0].numel()
        part = torch.from_numpy(head.weight[:, at : at + inputs] * len(layers))
        at += inputs
        with torch.no_grad():
            layer.weight.copy_(part.reshape(layer.weight.shape))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(head.bias))
    if at != head.weight.shape[1]:
        raise ValueError(f"expected a head for {at} features, got {head.weight.shape[1]}")
    _check(net.eval(), head, channels, size)


def _loss(flat: Array, x: Array, soft: Array, w: Array, l2: float) -> tuple[float, Array]:
    solution = flat.reshape(soft.shape[1], -1)
    weight = solution[:, :-1]
    logits = x @ weight.T + solution[:, -1]
    log_p = logits - scipy.special.logsumexp(logits, axis=1, keepdims=True)
    value = -(w @ (soft * log_p).sum(axis=1)) + l2 / 2 * (weight**2).sum()
    slope = w[:, None] * (np.exp(log_p) * soft.sum(axis=1, keepdims=True) - soft)
    gradient = np.empty_like(solution)
    gradient[:, :-1] = slope.T @ x + l2 * weight
    gradient[:, -1] = slope.sum(axis=0)
    return float(value), gradient.ravel()


def _check(net: nn.Module, head: Head, channels: int, size: int) -> None:
    like = next(net.parameters())
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0)).to(like)
    with torch.no_grad():
        seen = backbones.embed(net, images).double().cpu().numpy()
        got = net(images).double().cpu().numpy()
    expected = seen @ head.weight.T + head.bias
    terms = np.abs(seen) @ np.abs(head.weight.T) + np.abs(head.bias)  # what single precision's error grows with
    if not (np.abs(got - expected) <= 1e-4 * (1 + terms)).all():
        raise UserError(
            "Expected a backbone whose logits are a linear function of its embedding, this one's are not; set "
            "model.mode to finetune, or choose another backbone"
        )

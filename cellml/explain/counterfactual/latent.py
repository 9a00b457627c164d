"""Counterfactuals in closed form: along a straight line in the embedding of a network that has a way back.

x + decode(z + a d) - decode(z): where the way back is not exact, an image keeps what it leaves out.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from cellml.errors import UserError
from cellml.explain.counterfactual.base import METHODS, Way, crossing, margin
from cellml.models.classifier import Classifier
from cellml.models.generative import Generative

METHODS_OF_EMBEDDINGS = ("means", "boundary")  # those that need a way back


@METHODS.register("means")
def between_means(classifier: Classifier, x: Tensor, source: Tensor, target: Tensor, means: Tensor | None) -> Way:
    """Along the difference of the two classes' mean embeddings (Hvilshoj et al. 2021, ECINN).

    z + a (mean of the target - mean of the source), classes as predicted: a0 on the decision boundary, a1 = 0.8 +
    a0 / 2 beyond it, or a0 and a little where that is not beyond.

    Args:
        classifier: around a generative network.
        x: (N, C, S, S) normalised images.
        source: (N,) classes.
        target: (N,) classes.
        means: of `class_means`.

    Raises:
        UserError: another network, or a class without a mean.
    """
    net = generative(classifier)
    if means is None:
        raise ValueError("expected mean embeddings")
    if not torch.isfinite(means[torch.cat([source, target])]).all():
        raise UserError(
            "Expected training images that the model gives to both classes, got none of one; train it longer"
        )
    with torch.no_grad():
        z, way = net.encode(x), means[target] - means[source]
        found = _crossing(classifier, net, z, way, source, target)
        return Way(_line(net, x, z, way), found, torch.maximum(0.8 + found / 2, 1.05 * found))


@METHODS.register("boundary")
def across_boundary(classifier: Classifier, x: Tensor, source: Tensor, target: Tensor, means: Tensor | None) -> Way:
    """Straight across the decision boundary, by the least change of the embedding where the head is linear.

    z + a w, w the gradient of the log-odds m of the two classes: on the boundary a = -m / |w|^2, beyond it twice as
    far, where the odds are turned round.

    Args:
        classifier: around a generative network.
        x: (N, C, S, S) normalised images.
        source: (N,) classes.
        target: (N,) classes.
        means: not looked at.

    Raises:
        UserError: another network.
    """
    net = generative(classifier)
    with torch.no_grad():
        z = net.encode(x)
    with torch.enable_grad():
        start = z.detach().requires_grad_()
        odds = margin(classifier, net.logits(start), source, target)
        (w,) = torch.autograd.grad(odds.sum(), start)
    with torch.no_grad():
        length = w.flatten(1).square().sum(dim=1)
        way = w * _spread((-odds / length.clamp_min(torch.finfo(w.dtype).tiny)).abs(), w)
        found = _crossing(classifier, net, z, way, source, target)
        return Way(_line(net, x, z, way), found, 2 * found)


def generative(classifier: Classifier) -> Generative:
    """The network of a classifier that can turn embeddings into images.

    Raises:
        UserError: one that cannot.
    """
    if not isinstance(classifier.net, Generative):
        raise UserError(
            f"Expected a network with a way back to images, got {classifier.spec.backbone!r}; choose a model of an "
            "invertible network or an autoencoder, or the method search"
        )
    return classifier.net


@torch.no_grad()
def class_means(classifier: Classifier, batches: Iterable[Tensor]) -> Tensor:
    """Mean embedding of each class as the classifier predicts it, (K, ...); NaN of a class that it never says.

    Args:
        classifier: around a generative network.
        batches: prepared raw pixel values (N, C, S, S).
    """
    net, count = generative(classifier), len(classifier.spec.classes)
    total, seen = torch.zeros(0), torch.zeros(count)
    for prepared in batches:
        z = net.encode(classifier.normalise(prepared)).double()
        said = torch.nn.functional.one_hot(classifier.probabilities(prepared).argmax(dim=1), count).double()
        part = torch.einsum("nk,n...->k...", said, z)
        total = total + part if len(total) else part
        seen = seen.to(said) + said.sum(dim=0)
    return (total / seen.reshape(-1, *[1] * (total.ndim - 1))).float()


def _crossing(
    classifier: Classifier, net: Generative, z: Tensor, way: Tensor, source: Tensor, target: Tensor
) -> Tensor:
    def odds(step: Tensor) -> Tensor:
        return margin(classifier, net.logits(z + _spread(step, z) * way), source, target)

    return crossing(odds, len(z), z.device)


def _line(net: Generative, x: Tensor, z: Tensor, way: Tensor) -> Callable[[Tensor], Tensor]:
    """Images on a way from x, keeping what decode(z) leaves out of x where the way back is not exact."""
    left_out = x - net.decode(z)
    return lambda step: net.decode(z + _spread(step, z) * way) + left_out


def _spread(step: Tensor, z: Tensor) -> Tensor:
    """Numbers (N,) as (N, 1, ...) beside z."""
    return step.to(z).reshape(-1, *[1] * (z.ndim - 1))

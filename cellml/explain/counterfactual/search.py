"""Counterfactuals by gradient search in the pixels: for any classifier, as a baseline."""

from collections.abc import Callable

import torch
from torch import Tensor

from cellml.explain.base import at_least
from cellml.explain.counterfactual.base import METHODS, Way, margin
from cellml.models.classifier import Classifier


@METHODS.register("search")
def search(
    classifier: Classifier,
    x: Tensor,
    source: Tensor,
    target: Tensor,
    means: Tensor | None,
    *,
    steps: int = 200,
    rate: float = 0.01,
    weight: float = 10.0,
    odds: float = 2.0,
) -> Way:
    """The nearest image that the classifier gives to the target (Wachter, Mittelstadt, Russell 2018).

    Adam minimises weight |x' - x|^2 / pixels + max(0, odds - m), m the log-odds of the target against the source and
    pixel values in units of the classifier's range. The boundary is on the straight line between both.

    Args:
        classifier: any of images.
        x: (N, C, S, S) normalised images.
        source: (N,) classes.
        target: (N,) classes.
        means: not looked at.
        steps: of Adam.
        rate: of Adam, in units of the range.
        weight: of the distance.
        odds: log-odds that are enough.

    Raises:
        UserError: an option below what makes sense.
    """
    at_least(1, steps=steps)
    at_least(0, rate=rate, weight=weight, odds=odds)
    unit = 1 / classifier.std  # the range, normalised
    change = torch.zeros_like(x, requires_grad=True)
    optimizer = torch.optim.Adam([change], lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            m = margin(classifier, classifier.net(x + change * unit), source, target)
            loss = weight * change.square().flatten(1).mean(dim=1) + torch.relu(odds - m)
            optimizer.zero_grad()
            (change.grad,) = torch.autograd.grad(loss.sum(), change)
            optimizer.step()
    way = (change * unit).detach()
    with torch.no_grad():

        def along(step: Tensor) -> Tensor:
            return x + step.reshape(-1, 1, 1, 1) * way

        first = _first(lambda step: margin(classifier, classifier.net(along(step)), source, target), x)
    return Way(along, first, torch.ones_like(first))


def _first(value: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The step in (0, 1] at which a function is first seen to be above 0, (N,), NaN where it is not at 1."""
    low, high = x.new_zeros(len(x)), x.new_ones(len(x))
    reached = value(high) >= 0
    for _ in range(12):
        middle = (low + high) / 2
        over = value(middle) >= 0
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return torch.where(reached, high, torch.nan)

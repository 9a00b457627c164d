"""Counterfactuals by gradient search in the pixels: for any classifier, as a baseline."""

import torch
from torch import Tensor

from cellml.explain.base import at_least
from cellml.explain.counterfactual.base import METHODS, Way, crossing, margin
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

        def odds_at(step: Tensor) -> Tensor:
            return margin(classifier, classifier.net(along(step)), source, target)

        first = crossing(odds_at, len(x), x.device, most=1.0)
    return Way(along, first, torch.ones_like(first))

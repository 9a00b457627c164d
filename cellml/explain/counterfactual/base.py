"""What a counterfactual is, and the one way to ask for one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cellml.errors import UserError
from cellml.explain.base import check_finite, undisturbed
from cellml.models.classifier import Classifier, calibrated
from cellml.registry import Registry

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Counterfactual:
    """Images that were changed until another class was said of them, raw pixel values as `Classifier.prepare` gives.

    Attributes:
        original: (N, C, S, S) float32, what was changed.
        boundary: (N, C, S, S), on the decision boundary, where both classes are equally probable.
        changed: (N, C, S, S), beyond it.
        source: (N,) class indices that they come from.
        target: (N,) class indices that they go to.
        method: that changed them.
        reached: (N,) bool, whether the boundary was found; rows without stay as they were.
        steps: (N, 2) how far the boundary and the changed image are along the way; NaN where they were not reached.
        walk: (N, A, C, S, S) images at equal steps from the original to the changed one.
    """

    original: npt.NDArray[np.float32]
    boundary: npt.NDArray[np.float32]
    changed: npt.NDArray[np.float32]
    source: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    method: str
    reached: npt.NDArray[np.bool_]
    steps: Array
    walk: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.original)


@dataclass(frozen=True)
class Way:
    """From images to others, N of each: a straight line in a network's embedding, or one in the pixels.

    Attributes:
        at: steps (N,) to images (N, C, S, S), normalised; 0 is the start.
        boundary: (N,) the step at which both classes are equally probable, NaN where there is none.
        end: (N,) the step of the counterfactual.
    """

    at: Callable[[Tensor], Tensor]
    boundary: Tensor
    end: Tensor


Method = Callable[..., Way]
METHODS: Registry[Method] = Registry("counterfactual method")


def find(
    name: str,
    classifier: Classifier,
    prepared: Tensor,
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    means: Tensor | None = None,
    walk: int = 0,
    **options: Any,
) -> Counterfactual:
    """Change images until a classifier says another class.

    What is asked is the classifier as it predicts, with its temperature and offsets, of one upright view.

    Args:
        name: a member of METHODS.
        classifier: in evaluation mode afterwards as before.
        prepared: (N, C, S, S) raw pixel values, from `classifier.prepare`.
        source: (N,) classes that the images come from, or one for all.
        target: (N,) classes that they go to, or one for all.
        means: (K, ...) mean embeddings of the classes, for methods that go from one to another.
        walk: A, how many images of the way are kept, its ends among them.
        **options: keyword options of the method.

    Raises:
        UserError: an unknown method or option, a class that does not exist, or a network that the method does not suit.
    """
    from_, to = (_classes(given, classifier, len(prepared)) for given in (source, target))
    if (from_ == to).any():
        raise UserError("Expected a target class that differs from the source, got the same; choose two classes")
    method, given = METHODS[name], METHODS.options(name, options)
    device = classifier.mean.device
    with torch.inference_mode(False), undisturbed(classifier):
        check_finite(classifier)
        start = classifier.normalise(prepared.detach().clone().to(device, torch.float32))
        way = method(classifier, start, from_, to, None if means is None else means.to(device), **given)
        reached = torch.isfinite(way.boundary)
        steps = [torch.where(reached, step, 0.0) for step in (torch.zeros_like(way.end), way.boundary, way.end)]
        with torch.no_grad():
            ends = [_pixels(classifier, way, step) for step in steps]
            between = [_pixels(classifier, way, share * steps[2]) for share in np.linspace(0, 1, walk)]
    return Counterfactual(
        original=ends[0],
        boundary=ends[1],
        changed=ends[2],
        source=from_.cpu().numpy(),
        target=to.cpu().numpy(),
        method=name,
        reached=reached.cpu().numpy(),
        steps=torch.stack([way.boundary, way.end], dim=1).double().cpu().numpy(),
        walk=np.stack(between, axis=1) if between else np.empty((len(prepared), 0, *ends[0].shape[1:]), np.float32),
    )


def margin(classifier: Classifier, logits: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Log-odds of the target against the source class as the classifier predicts, (N,) of logits (N, K)."""
    said = calibrated(classifier.spec, logits)
    rows = torch.arange(len(said), device=said.device)
    return said[rows, target] - said[rows, source]


def crossing(value: Callable[[Tensor], Tensor], count: int, device: torch.device, most: float = 64.0) -> Tensor:
    """The first step at which a function that starts below 0 is not, (N,), by doubling and bisection.

    Args:
        value: steps (N,) to values (N,).
        count: N.
        device: of the steps.
        most: where the search ends.

    Returns:
        0 where it starts at 0 or above; NaN where it stays below 0 up to `most`.
    """
    low = torch.zeros(count, device=device)
    high = low + most / 2**12
    above = value(high) >= 0
    while not above.all() and high.max() < most:
        low, high = torch.where(above, low, high), torch.where(above, high, 2 * high)
        above = value(high) >= 0
    for _ in range(40):
        middle = (low + high) / 2
        over = value(middle) >= 0
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    found = torch.where(value(torch.zeros_like(low)) >= 0, 0.0, high)
    return torch.where(above, found, torch.nan)


def _pixels(classifier: Classifier, way: Way, step: Tensor) -> npt.NDArray[np.float32]:
    return classifier.denormalise(way.at(step)).float().cpu().numpy()


def _classes(given: npt.ArrayLike, classifier: Classifier, count: int) -> Tensor:
    found = np.broadcast_to(np.asarray(given, dtype=np.int64), (count,)).copy()
    names = classifier.spec.classes
    if len(found) and (found.min() < 0 or found.max() >= len(names)):
        raise UserError(f"Expected class indices below {len(names)}, got {found.min()} to {found.max()}")
    return torch.from_numpy(found).to(classifier.mean.device)

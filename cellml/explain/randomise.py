"""Do maps depend on what the network learned?"""

import copy
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import ConstantInputWarning, spearmanr
from torch import nn

from cellml.explain.base import EXPLAINERS, Attribution, explain
from cellml.models.classifier import Classifier

LIMIT = 0.5  # a method whose maps correlate more with those of a random network fails the check


def randomisation(
    name: str,
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: npt.ArrayLike | torch.Tensor,
    seed: int = 0,
    /,
    **options: Any,
) -> float:
    """Randomisation check: how alike the maps of the network and of one with random weights are.

    All parameters at once are drawn anew (Adebayo et al. 2018, arXiv 1810.03292: model parameter randomisation test);
    the maps are compared without sign.

    Args:
        name: a member of EXPLAINERS.
        classifier: whose maps are checked; it stays as it is.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) index of the class to explain for each image.
        seed: of the random weights; a method's own `seed` is among the options.
        **options: keyword options of the method.

    Returns:
        Median over the images of Spearman's rank correlation, below `LIMIT` for a method that passes; NaN where no
        two maps can be compared.

    Raises:
        UserError: as `explain`.
    """
    trained = explain(name, classifier, prepared, classes, **options)
    return likeness(trained, name, classifier, prepared, seed, **options)


def likeness(
    trained: Attribution, name: str, classifier: Classifier, prepared: torch.Tensor, seed: int = 0, /, **options: Any
) -> float:
    """`randomisation` where the network's own maps are known already: one explanation instead of two.

    A method that reads a layer of its choice is given the one that it read in the trained network.
    """
    if trained.layer and "layer" in EXPLAINERS.option_names(name):
        options = {**options, "layer": trained.layer}
    random = explain(name, reinitialised(classifier, seed), prepared, trained.classes, **options)
    alike = similarity(trained, random)
    return float(np.median(alike[np.isfinite(alike)])) if np.isfinite(alike).any() else float("nan")


def similarity(first: Attribution, second: Attribution) -> npt.NDArray[np.float64]:
    """Spearman's rank correlation of the absolute maps, image by image: (N,).

    NaN where a map is constant, and everywhere where the maps are of different methods.
    """
    if first.method != second.method:
        return np.full(len(first), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        pairs = zip(np.abs(first.maps), np.abs(second.maps), strict=True)
        return np.array([spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs], dtype=np.float64)


def reinitialised(classifier: Classifier, seed: int = 0) -> Classifier:
    """A copy whose network has random weights, of a scale that keeps signals alive through any depth.

    Weights of two and more dimensions are normal with variance 2 / fan-in (He et al. 2015, arXiv 1502.01852); biases
    and normalisation layers, with their running statistics, start as torch starts them; other vectors (the scales of
    residual branches) are shuffled.

    Args:
        classifier: stays as it is.
        seed: of the weights; the caller's random state stays as it is.
    """
    device = next(classifier.parameters()).device
    changed = copy.deepcopy(classifier).cpu()
    seen: set[int] = set()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in changed.net.modules():
            _redraw(module, seen)
    return changed.to(device)


def _redraw(module: nn.Module, seen: set[int]) -> None:
    """New values for a module's own parameters, except those of a module before it; their ids join `seen`."""
    own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
    reset = getattr(module, "reset_parameters", None)
    if reset is not None and len(own) == len(list(module.parameters(recurse=False))):
        reset()
    for parameter in own:
        seen.add(id(parameter))
        if parameter.ndim > 1:
            parameter.copy_(torch.randn(parameter.shape) * (2 / parameter[0].numel()) ** 0.5)
        elif reset is None and parameter.ndim == 1:
            parameter.copy_(parameter[torch.randperm(len(parameter))])

"""Attributions: which pixels spoke for or against a class, and the one way to ask for them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from cellml.errors import UserError
from cellml.models.classifier import Classifier, calibrated
from cellml.registry import Registry

Score = Literal["logit", "log_odds", "probability"]


@dataclass(frozen=True)
class Attribution:
    """Signed maps of one batch of images.

    Attributes:
        maps: (N, H, W) float32, positive where a pixel speaks for the explained class, negative where against.
        classes: (N,) int64, the class index each map explains.
        method: the method that made the maps, which is not the one asked for when that cannot serve the backbone.
        fallback: why another method stood in, or None.
        convergence: (N,) float64, the method's own figure of its numerical error, or None where it has none.
        layer: dotted name of the module whose activations were used, or None.
        channels: (N, C, H, W) float32, the maps by channel of the image, or None where the method has none. Of the
            additive methods `maps` is their sum, of gradients the value of the channel that has the largest.
    """

    maps: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    method: str
    fallback: str | None = None
    convergence: npt.NDArray[np.float64] | None = None
    layer: str | None = None
    channels: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.maps.ndim != 3 or len(self.maps) != len(self.classes):
            raise ValueError(f"expected a map for each of {len(self.classes)} classes, got shape {self.maps.shape}")
        n, *side = self.maps.shape
        if self.channels is not None and (n, *side) != (len(self.channels), *self.channels.shape[2:]):
            raise ValueError(f"expected channels of maps {self.maps.shape}, got shape {self.channels.shape}")

    def __len__(self) -> int:
        return len(self.maps)


Explainer = Callable[..., Attribution]
EXPLAINERS: Registry[Explainer] = Registry("explainer")
SLOPE = "slope"  # mark of methods whose sign is a gradient's: positive where a brighter pixel would speak for the class


def explain(
    name: str, classifier: Classifier, prepared: torch.Tensor, classes: npt.ArrayLike | torch.Tensor, **options: Any
) -> Attribution:
    """Explain a classifier's view of images by a registered method.

    The classifier runs in eval mode; its training and requires_grad flags and its gradients are left as they were.
    What is explained is one upright view: where `spec.tta` averages several, the maps are of the first of them.

    Args:
        name: a member of EXPLAINERS.
        classifier: what is explained.
        prepared: (N, C, H, W) raw pixel values as the network sees them, from `classifier.prepare`.
        classes: (N,) index of the class to explain for each image.
        **options: keyword options of the method.

    Returns:
        An Attribution with maps of (N, H, W).

    Raises:
        UserError: an unknown method or option, no images, another number of channels, a class that does not exist,
            or maps that are not finite.
    """
    method = EXPLAINERS[name]
    options = EXPLAINERS.options(name, options)
    device = next(classifier.parameters()).device
    with torch.inference_mode(False), undisturbed(classifier):
        wanted = _checked_classes(classifier, prepared, classes)
        images = prepared.detach().clone() if prepared.is_inference() else prepared.detach()
        check_finite(classifier)
        try:
            result = method(classifier, images.to(device, torch.float32), wanted.to(device), **options)
        except TypeError as error:
            if not options:
                raise
            raise UserError(f"Expected options that {name} can work with, got {options}: {error}") from error
    if not np.isfinite(result.maps).all():
        raise UserError(
            f"Expected finite heatmaps from {result.method}, got NaN or infinity; "
            "check that the model's training loss stayed finite"
        )
    return result


def check_finite(network: torch.nn.Module) -> None:
    """Refuse a network whose training went astray.

    Raises:
        UserError: NaN or infinity among its parameters.
    """
    if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
        raise UserError("Expected a model with finite weights, got NaN or infinity among them; train it anew")


def scores(classifier: Classifier, prepared: torch.Tensor, classes: torch.Tensor, score: Score) -> torch.Tensor:
    """What a map explains, as one number an image, from the logits after the classifier's calibration.

    Args:
        classifier: K classes.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        score: "logit" (z_c), "log_odds" (log p_c / (1 - p_c), z_c minus the log-sum-exp of the other logits, which
            neither saturates nor moves when all logits move together) or "probability".

    Returns:
        (N,) scores.
    """
    logits = calibrated(classifier.spec, classifier.logits(prepared))
    own = logits.gather(1, classes[:, None])[:, 0]
    if score == "logit":
        return own
    if score == "log_odds":
        others = logits.scatter(1, classes[:, None], float("-inf"))
        return own - others.logsumexp(dim=1)
    if score == "probability":
        return (own - logits.logsumexp(dim=1)).exp()
    raise UserError(f"Expected score 'logit', 'log_odds' or 'probability', got {score!r}")


@torch.no_grad()
def measured(
    classifier: Classifier, prepared: torch.Tensor, classes: torch.Tensor, score: Score, batch_size: int
) -> npt.NDArray[np.float64]:
    """`scores` without gradients, in batches: (N,)."""
    batches = zip(prepared.split(batch_size), classes.split(batch_size), strict=True)
    parts = [scores(classifier, some, wanted, score) for some, wanted in batches]
    return torch.cat(parts).double().cpu().numpy()


def array(values: torch.Tensor) -> npt.NDArray[np.float32]:
    """A tensor of any device as float32."""
    return values.detach().cpu().numpy().astype(np.float32)


def at_least(least: int, **options: float) -> None:
    """Check options that are numbers.

    Raises:
        UserError: one that is smaller.
    """
    for name, value in options.items():
        if value < least:
            raise UserError(f"Expected explain option {name!r} of at least {least}, got {value}")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global random states of torch, numpy and Python start from a seed inside and are as before outside."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    state, plain = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(state)


@contextmanager
def undisturbed(module: torch.nn.Module) -> Iterator[None]:
    """Eval mode and no parameter gradients inside; training and requires_grad flags as before outside."""
    training = [(m, m.training) for m in module.modules()]
    gradients = [(p, p.requires_grad) for p in module.parameters()]
    try:
        module.eval()
        for parameter, _ in gradients:
            parameter.requires_grad_(False)
        yield
    finally:
        for member, flag in training:
            member.training = flag
        for parameter, wanted in gradients:
            parameter.requires_grad_(wanted)


def _checked_classes(
    classifier: Classifier, prepared: torch.Tensor, classes: npt.ArrayLike | torch.Tensor
) -> torch.Tensor:
    channels, names = classifier.spec.channels, classifier.spec.classes
    if prepared.ndim != 4 or prepared.shape[1] != channels:
        raise UserError(
            f"Expected images with {channels} channels, as (N, {channels}, H, W), got {tuple(prepared.shape)}; "
            "give the images the model was trained on"
        )
    if len(prepared) == 0:
        raise UserError("Expected at least one image to explain, got none; choose a class that has images")
    wanted = torch.as_tensor(classes, dtype=torch.int64).detach().cpu().clone()
    if wanted.shape != (len(prepared),):
        raise UserError(f"Expected one class index for each of {len(prepared)} images, got {tuple(wanted.shape)}")
    if bool(((wanted < 0) | (wanted >= len(names))).any()):
        raise UserError(
            f"Expected class indices from 0 to {len(names) - 1}, got {int(wanted.min())} to {int(wanted.max())}"
        )
    return wanted

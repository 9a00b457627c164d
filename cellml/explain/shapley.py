"""SHAP's PartitionExplainer: Owen values of ever smaller rectangles."""

import copy
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cellml.explain import references
from cellml.explain.base import EXPLAINERS, Attribution, Score, at_least, measured, seeded
from cellml.models.classifier import Classifier

_TOGETHER = 50  # masks that shap asks for at once, in which order it splits depends on it


@EXPLAINERS.register("shap_partition")
def shap_partition(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    samples: int = 500,
    baseline: str = "blur",
    score: Score = "log_odds",
    seed: int = 0,
    batch_size: int = 32,
) -> Attribution:
    """SHAP's PartitionExplainer: Owen values of rectangles halved where most is found; any network.

    The image is halved again and again and the score's change shared out between the halves, shown and hidden, those
    first where it is largest (Lundberg's shap package; values after Owen 1977). What is left undivided when the
    evaluations are spent is spread evenly. Channels are told apart in the smallest rectangles only.

    Args:
        classifier: what is explained, in eval mode.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        samples: evaluations of the network for an image.
        baseline: what stands where the image is hidden, see `references.reference`.
        score: what is explained.
        seed: of the order among equals.
        batch_size: images a pass, hidden parts included.

    Returns:
        Maps of (N, H, W), in units of the score; `convergence` is what their sum lacks of the score's change.

    Raises:
        UserError: too few samples, or an unknown baseline.
    """
    at_least(4, samples=samples)
    blank = references.reference(prepared, baseline)
    with seeded(seed):  # its import draws random numbers
        import shap
    masker = copy.copy(_masker(*_last(prepared[:1]).shape[1:]))
    channels = []
    for image, hidden, wanted in zip(_last(prepared), _last(blank), classes, strict=True):
        masker.mask_value = hidden.ravel()

        def score_of(pixels: npt.NDArray[np.float32], wanted: torch.Tensor = wanted) -> npt.NDArray[np.float64]:
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(prepared.device)
            return measured(classifier, images, wanted.expand(len(images)), score, batch_size)

        explainer: Any = shap.PartitionExplainer(score_of, masker)
        with seeded(seed):
            found = explainer(image[None], max_evals=samples, batch_size=_TOGETHER, silent=True)
        channels.append(found.values[0].transpose(2, 0, 1))
    by_channel = np.stack(channels)
    change = measured(classifier, prepared, classes, score, batch_size)
    change -= measured(classifier, blank, classes, score, batch_size)
    return Attribution(
        by_channel.sum(axis=1).astype(np.float32),
        classes.cpu().numpy(),
        "shap_partition",
        convergence=np.abs(by_channel.sum(axis=(1, 2, 3)) - change),
        channels=by_channel.astype(np.float32),
    )


@lru_cache(maxsize=4)
def _masker(*shape: int) -> Any:
    """What hides parts of an image (H, W, C), with its tree of rectangles, which takes a second to grow."""
    import shap

    return shap.maskers.Image(np.zeros(shape, dtype=np.float32))


def _last(images: torch.Tensor) -> npt.NDArray[np.float32]:
    """Channels last, as shap has them: (N, H, W, C)."""
    return images.permute(0, 2, 3, 1).contiguous().cpu().numpy()

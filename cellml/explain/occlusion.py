"""Occlusion: hide a patch, see the score drop."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from cellml.errors import UserError
from cellml.explain import references
from cellml.explain.base import EXPLAINERS, Attribution, Score, scores
from cellml.models.classifier import Classifier


@EXPLAINERS.register("occlusion")
def occlusion(
    classifier: Classifier,
    prepared: torch.Tensor,
    classes: torch.Tensor,
    *,
    patch: float = 0.15,
    stride: float = 0.075,
    baseline: str = "blur",
    score: Score = "log_odds",
    batch_size: int = 32,
) -> Attribution:
    """Occlusion: the score lost when a sliding patch is hidden; any network.

    A pixel's value is the mean, over the patches that cover it, of the score of the whole image minus that of the
    image with the patch hidden (Zeiler & Fergus 2014, arXiv 1311.2901).

    Args:
        classifier: what is explained, in eval mode.
        prepared: (N, C, H, W) raw pixel values.
        classes: (N,) class index.
        patch: side of the patch, as a share of the image's side.
        stride: largest step between patches, as a share of the image's side; the patches reach every edge.
        baseline: what stands in the patch: "blur" (the image under a Gaussian whose standard deviation is the
            patch's side, so that an empty background stays empty) or "mean" (the image's mean, channel by channel).
        score: whose drop is measured.
        batch_size: images a pass, hidden patches included.

    Returns:
        Maps of (N, H, W), in units of the score.

    Raises:
        UserError: a patch or stride outside (0, 1], or an unknown baseline.
    """
    for name, share in (("patch", patch), ("stride", stride)):
        if not 0 < share <= 1:
            raise UserError(f"Expected explain option {name!r} above 0 and at most 1, got {share}")
    rows, columns = (_windows(side, patch, stride).to(prepared.device) for side in prepared.shape[2:])
    hidden = references.reference(prepared, baseline, patch)
    measure = partial(scores, classifier, score=score)
    drops = _drops(measure, (prepared, hidden, classes), rows, columns, batch_size)
    summed = torch.einsum("nij,ih,jw->nhw", drops, rows.float(), columns.float())
    cover = torch.outer(rows.sum(dim=0), columns.sum(dim=0))
    return Attribution((summed / cover).cpu().numpy().astype(np.float32), classes.cpu().numpy(), "occlusion")


def stand_in(
    name: str, classifier: Classifier, prepared: torch.Tensor, classes: torch.Tensor, reason: str
) -> Attribution:
    """Occlusion's maps where a method cannot serve the network, with the reason on record."""
    fallback = f"{name} cannot serve {classifier.spec.backbone}: {reason}"
    return replace(occlusion(classifier, prepared, classes), fallback=fallback)


@torch.no_grad()
def _drops(
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    given: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    rows: torch.Tensor,
    columns: torch.Tensor,
    batch_size: int,
) -> torch.Tensor:
    """(N, rows, columns) score lost by each patch; only one batch of changed images exists at a time."""
    images, hidden, classes = given
    n, high, wide = len(images), len(rows), len(columns)
    batches = zip(images.split(batch_size), classes.split(batch_size), strict=True)
    whole = torch.cat([score(some, wanted) for some, wanted in batches])
    left = []
    for jobs in torch.arange(n * high * wide, device=images.device).split(batch_size):
        image, row, column = jobs // (high * wide), jobs // wide % high, jobs % wide
        mask = rows[row][:, None, :, None] & columns[column][:, None, None, :]
        left.append(score(torch.where(mask, hidden[image], images[image]), classes[image]))
    return whole[:, None, None] - torch.cat(left).reshape(n, high, wide)


def _windows(side: int, patch: float, stride: float) -> torch.Tensor:
    """(positions, side) bool: evenly spaced windows, the first and the last at the edges."""
    length = min(side, max(1, round(patch * side)))
    steps = math.ceil((side - length) / max(1, round(stride * side)))
    starts = [round(k * (side - length) / steps) for k in range(steps + 1)] if steps else [0]
    pixels = torch.arange(side)
    return torch.stack([(pixels >= start) & (pixels < start + length) for start in starts])

"""What a classifier says of prepared images."""

import torch
from torch import Tensor

from cellml.models.classifier import Classifier
from cellml.models.views import COUNTS
from cellml.training.arrays import Arrays, InOrder

SCORED = 128  # images at once, the views of test-time averaging counted


def probabilities(model: Classifier, of: Arrays, on: torch.device) -> Tensor:
    """Probabilities (N, K) in full precision; the model ends on the CPU in evaluation mode.

    Args:
        model: averages over views where its `tta` says so.
        of: N prepared images.
        on: device to compute on.
    """
    model.to(on).eval()
    at_once = SCORED // COUNTS[model.spec.tta]
    with torch.inference_mode():
        found = [model.probabilities(of.take(rows)).cpu() for rows in InOrder(len(of), at_once, on)]
    model.to("cpu")
    return torch.cat(found)

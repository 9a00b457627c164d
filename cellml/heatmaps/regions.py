"""The superpixels that a method's maps were made with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cellml.explain import superpixels

METHODS = ("lime", "kernel_shap")


def of(method: str, prepared: torch.Tensor, options: Mapping[str, Any]) -> npt.NDArray[np.int64] | None:
    """(N, H, W) superpixels as the method cuts them, or None for a method that does not."""
    if method not in METHODS:
        return None
    named = {key: options[key] for key in ("count", "kind") if key in options}
    return superpixels.segment(prepared, **named)

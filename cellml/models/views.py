"""The views of an image that a classifier averages over when it predicts."""

from typing import Literal, get_args

import torch

Tta = Literal["none", "flips", "d4"]  # in the order of their number
COUNTS: dict[Tta, int] = {"none": 1, "flips": 4, "d4": 8}


def views(images: torch.Tensor, tta: Tta) -> list[torch.Tensor]:
    """Square images (..., C, S, S) as they are and, by `tta`, flipped and turned; the images themselves first.

    flips: left to right, upside down, and both; d4: these four and their transposes, all flips and quarter turns.
    """
    seen = [images]
    if tta == "d4":
        seen += [view.transpose(-2, -1) for view in seen]
    if tta != "none":
        seen += [view.flip(-1) for view in seen]
        seen += [view.flip(-2) for view in seen]
    return seen


def most(kinds: list[Tta]) -> Tta:
    """The one of several that has most views."""
    return max(kinds, key=get_args(Tta).index)

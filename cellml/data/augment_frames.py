"""Random changes of sequences: drawn once a sequence, the same for all its frames; noise alone is drawn per frame."""

import torch
from torch import Tensor

from cellml.config import Augment
from cellml.data import augment

_STILL = {"flip": False, "rotate": 0.0, "scale": 0.0, "shift": 0.0}
_PLAIN = {"stain": 0.0, "brightness": 0.0, "contrast": 0.0, "color": 0.0, "noise": 0.0, "erase": 0.0}
_OF_CHANNELS = ("stain", "color")  # what looks at a frame's channels; the rest looks at each frame's planes


def augment_frames(
    frames: Tensor, masks: Tensor | None, config: Augment, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Change every sequence of a batch at random, each in its own way, as `augment.augment` changes images.

    A frame comes out the same whatever the other frames of its sequence show, and padding frames change nothing, but
    that noise is drawn for all of them.

    Args:
        frames: (N, T, C, S', S') float on a scale of 0 to 1, S' >= size; the central window is what is seen.
        masks: (N, T, S', S') from 0 to 1, moved as their frames are, or None.
        config: what to draw.
        size: the output's side in pixels.
        generator: on the frames' device.

    Returns:
        (N, T, C, size, size), and the masks (N, T, size, size) or None.
    """
    length, channels = frames.shape[1:3]
    planes = frames.flatten(1, 2)
    if masks is not None:
        planes = torch.cat([planes, masks.to(planes)], dim=1)
    planes = augment.geometry(planes, config.model_copy(update=_PLAIN), size, generator)
    planes, moved = planes.split([length * channels, planes.shape[1] - length * channels], dim=1)
    for names in (("stain",), ("brightness", "contrast"), ("color",), ("noise", "erase")):
        if not any(getattr(config, name) for name in names):
            continue
        only = config.model_copy(update=_STILL | _PLAIN | {name: getattr(config, name) for name in names})
        if names[0] in _OF_CHANNELS:
            strip = planes.unflatten(1, (length, channels)).transpose(1, 2).flatten(2, 3)  # (N, C, T size, size)
            strip = augment.intensity(strip, only, generator)
            planes = strip.unflatten(2, (length, size)).transpose(1, 2).flatten(1, 2)
        else:
            planes = augment.intensity(planes, only, generator)
    return planes.unflatten(1, (length, channels)), moved if masks is not None else None

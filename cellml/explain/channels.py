"""Maps by channel: which stain of a multi-channel image spoke for and against a class, and where."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from cellml.explain import canvas, panels
from cellml.models.classifier import Spec

_LARGEST, _GAP, _HEADS, _CAPTION = 160, 6, 20, 42


def relevance(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Each channel's share of an image's absolute relevance.

    Args:
        maps: (N, C, H, W) signed.

    Returns:
        (N, C), rows sum to 1, or are 0 where a map is empty.
    """
    total = np.abs(maps).sum(axis=(2, 3), dtype=np.float64)
    whole = total.sum(axis=1, keepdims=True)
    return np.divide(total, whole, out=np.zeros_like(total), where=whole > 0)


def sheet(
    prepared: torch.Tensor,
    maps: npt.NDArray[np.float32],
    spec: Spec,
    captions: Sequence[str],
    *,
    title: str,
    explained: str,
    names: Sequence[str] = (),
    most: int = 8,
) -> Figure:
    """A row an image: the image in colour, then each channel in grey under its map.

    Args:
        prepared: (N, C, H, W) raw pixel values as the network sees them.
        maps: (N, C, H, W) signed maps by channel; those of one image are coloured on one scale.
        spec: of the classifier, whose raw-value range is each channel's range of brightness.
        captions: (N,) short texts beneath the images.
        title: method, model, split.
        explained: name of the class that the maps explain.
        names: (C,) channel names; default "channel 0", ...
        most: how many images are shown, the first ones.

    Returns:
        A figure 900 pixels wide.

    Raises:
        ValueError: no images, or shapes that differ.
    """
    n, channels = prepared.shape[:2]
    names = list(names) or [f"channel {c}" for c in range(channels)]
    if not n or maps.shape != tuple(prepared.shape) or len(captions) != n or len(names) != channels:
        raise ValueError(f"expected maps, captions and names for images {tuple(prepared.shape)}, got {maps.shape}")
    n = min(n, most)
    side = min(_LARGEST, (canvas.WIDTH - 28) // (channels + 1) - _GAP)
    lefts = [14 + column * (side + _GAP) for column in range(channels + 1)]
    tops = [canvas.HEAD + _HEADS + row * (side + _CAPTION) for row in range(n)]
    bottom = canvas.HEAD + _HEADS + n * (side + _CAPTION)
    pixels = canvas.blank(bottom + canvas.LEGEND)
    for picture, planes, heats, top in zip(
        panels.shown(prepared[:n], spec), _gray(prepared, spec), maps, tops, strict=False
    ):
        canvas.place(pixels, picture, lefts[0], top, side)
        scale = panels.scale_of(heats)
        for plane, heat, left in zip(planes, heats, lefts[1:], strict=True):
            canvas.place(pixels, panels.overlay(plane, heat, scale), left, top, side)
    figure, axes = canvas.page(pixels)
    canvas.title(axes, f"What each channel said for and against: {explained}", title)
    for name, left in zip(["image", *names], lefts, strict=True):
        canvas.write(axes, left, canvas.HEAD + 2, name, side, fontsize=8.4, fontweight="bold")
    for caption, parts, top in zip(captions, relevance(maps), tops, strict=False):
        canvas.write(axes, lefts[0], top + side + 18, caption, canvas.WIDTH - 28, fontsize=7.6, color=canvas.SOFT)
        for part, left in zip(parts, lefts[1:], strict=True):
            canvas.write(axes, left, top + side + 4, f"{part:.0%} of relevance", side, fontsize=7.6)
    note = "The maps of one image share one scale. Percentages: a channel's part of the image's absolute relevance."
    canvas.legend(axes, bottom, explained, note)
    return figure


def _gray(prepared: torch.Tensor, spec: Spec) -> npt.NDArray[np.uint8]:
    """Each channel from its low (black) to its high (white): (N, C, H, W, 3) uint8."""
    low, high = (np.asarray(v, dtype=np.float64)[:, None, None] for v in (spec.low, spec.high))
    share = np.clip((prepared.detach().cpu().numpy() - low) / np.maximum(high - low, 1e-12), 0, 1)
    return np.rint(255 * share).astype(np.uint8)[..., None].repeat(3, axis=-1)

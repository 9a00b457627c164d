"""How a module's output lies in space: read from its shape and the network's description of itself."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Layout:
    """How a module's output lies in space: channels last or first, or a row of tokens after `prefix` others.

    `order` tells where in the row each position's token stands, for tokens that are not in the image's order.
    """

    height: int
    width: int
    kind: str  # NCHW, NHWC or NLC
    prefix: int = 0
    order: tuple[int, ...] | None = None

    def to_maps(self, output: torch.Tensor) -> torch.Tensor:
        """Output of the module, as (N, h, w, C)."""
        if self.kind == "NCHW":
            return output.permute(0, 2, 3, 1)
        if self.kind == "NLC":
            tokens = output[:, self.prefix :] if self.order is None else output[:, self.order]
            return tokens.reshape(len(tokens), self.height, self.width, -1)
        return output


def stages(core: nn.Module) -> list[dict[str, Any]]:
    """What a timm network says of its stages: `module`, `num_chs`, `reduction`; none for other networks."""
    info = getattr(core, "feature_info", None) or []
    return list(getattr(info, "info", info))


def find(core: nn.Module, name: str, output: torch.Tensor, size: tuple[int, ...]) -> Layout | None:
    """How a module's output lies in space, or None where it is no map of the image.

    Args:
        core: the network, whose own description decides what the shape leaves open.
        name: dotted name of the module.
        output: of rank 3 or 4.
        size: (H, W) of the image.
    """
    stage = next((s for s in stages(core) if s.get("module") == name), {})
    if output.ndim == 4:
        return _plane(core, output, size, stage.get("num_chs"))
    if hasattr(core, "reroll"):
        return _unrolled(core, name, output.shape[1])
    reduction = stage.get("reduction")
    grids = _told(core, size)
    if reduction:
        grids.append((-(-size[0] // reduction), -(-size[1] // reduction)))
    for prefix in dict.fromkeys((int(getattr(core, "num_prefix_tokens", 0) or 0), 0, 1)):
        positions = output.shape[1] - prefix
        for height, width in [*grids, *_factors(positions, size)]:
            if height * width == positions:
                return Layout(height, width, "NLC", prefix)
    return None


def declared(core: nn.Module, layout: Layout, size: tuple[int, ...]) -> bool:
    """Does the network itself say that its tokens make this grid of an (H, W) image, row by row?"""
    return (layout.height, layout.width) in _told(core, size)


def _told(core: nn.Module, size: tuple[int, ...]) -> list[tuple[int, ...]]:
    embed: Any = getattr(core, "patch_embed", None)
    return [tuple(embed.dynamic_feat_size(size))] if hasattr(embed, "dynamic_feat_size") else []


def _unrolled(core: Any, name: str, positions: int) -> Layout | None:
    """Hiera keeps the tokens of a window apart from each other until they are pooled; it knows their places itself."""
    parent, _, index = name.partition(".")
    if parent != "blocks" or not index.isdigit():
        return None
    places = core.reroll(torch.arange(positions).reshape(1, positions, 1), int(index))[0, :, :, 0]
    height, width = places.shape
    return Layout(height, width, "NLC", order=tuple(places.flatten().tolist()))


def _plane(core: nn.Module, output: torch.Tensor, size: tuple[int, ...], channels: int | None) -> Layout | None:
    """NCHW or NHWC: by the described number of channels, else by the image's proportions, else as declared."""
    first = Layout(int(output.shape[2]), int(output.shape[3]), "NCHW")
    last = Layout(int(output.shape[1]), int(output.shape[2]), "NHWC")
    both = [last, first] if getattr(core, "output_fmt", None) == "NHWC" else [first, last]
    fitting = sorted(
        (layout for layout in both if _misfit(layout, size) <= 1), key=lambda layout: _misfit(layout, size)
    )
    described = [layout for layout in fitting if output.shape[1 if layout is first else 3] == channels]
    return next(iter(described or fitting), None)


def _misfit(layout: Layout, size: tuple[int, ...]) -> float:
    """By how many positions the grid differs from the image divided by one step, the same for both sides.

    Rounding and padding can make it up to one; a square image always gives a square grid.
    """
    step = max(size[0] / layout.height, size[1] / layout.width)
    if step < 1 or (size[0] == size[1] and layout.height != layout.width):
        return float("inf")
    return max(abs(layout.height - size[0] / step), abs(layout.width - size[1] / step))


def _factors(positions: int, size: tuple[int, ...]) -> list[tuple[int, int]]:
    """Grids of so many positions with the image's proportions exactly."""
    return [
        (height, positions // height)
        for height in range(1, positions + 1)
        if positions % height == 0 and height * size[1] == (positions // height) * size[0]
    ]

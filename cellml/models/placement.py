"""Where attention blocks stand in a backbone, and putting them there.

The trunk stays as it is, its tensors' names too: the blocks are one further child, `attention`, with an entry
`<block>_<place>` each, and hooks on the trunk's modules lead through them. Whatever reads a stage (a heatmap, an
embedding) reads what its blocks give. Copies of a network have hooks with blocks of their own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cellml.errors import UserError
from cellml.models.attention import ATTENTION, VECTOR

NONE, POOL = "none", "pool"
CHILD = "attention"
PREFIX = f"{CHILD}."  # of the blocks' tensors
_STEM = 4  # stages are what a network describes from this reduction on


@dataclass(frozen=True)
class Stage:
    """A convolutional stage: the module that gives its maps, their channels, and whether these stand last."""

    module: nn.Module
    channels: int
    last: bool


@dataclass
class _Through:
    """A forward hook that leads a stage's maps through a block."""

    block: nn.Module
    last: bool

    def __call__(self, _: nn.Module, __: Any, maps: torch.Tensor) -> torch.Tensor:
        if self.last:
            return self.block(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.block(maps)


@dataclass
class _Before:
    """A forward pre-hook that leads the pooled vectors, (N, D) or (N, D, 1, 1), through a block."""

    block: nn.Module

    def __call__(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return self.block(inputs[0].flatten(1)).reshape(inputs[0].shape)


def parse(text: str) -> list[tuple[str, str]]:
    """The blocks and their places, ("cbam", "3") or ("se1d", "pool"), of `model.attention`.

    Raises:
        UserError: an unknown block, with near names, or one on maps after pooling and the other way round.
    """
    if text == NONE:
        return []
    found = []
    for part in text.split("+"):
        block, _, place = part.partition("@")
        ATTENTION[block]
        if ATTENTION.marked(block, VECTOR) != (place == POOL):
            where = f"the pooled vector: {block}@{POOL}" if place != POOL else f"a stage: {block}@1, {block}@2, ..."
            raise UserError(f"Expected attention block {block!r} on {where}, got {part!r} in model.attention; move it")
        found.append((block, place))
    return found


def insert(
    name: str, net: nn.Module, text: str, heads: Sequence[nn.Linear | nn.Conv2d], channels: int, size: int
) -> None:
    """Put attention blocks into a network, in place.

    Several at one place stand in the order of the text. Their parameters come from torch's global generator.

    Args:
        name: of the network, for errors.
        net: its mode stays as it is.
        text: of `model.attention`: none, cbam@3, se@2+se1d@pool.
        heads: the layers that give the logits; blocks on the pooled vector stand before them.
        channels: of the input.
        size: side of the input in pixels.

    Raises:
        UserError: an unknown block, or a place that the network does not have; it names those that it has.
    """
    wanted = parse(text)
    if not wanted:
        return
    found = stages(net, channels, size) if any(place != POOL for _, place in wanted) else {}
    blocks = nn.ModuleDict()
    for kind, place in wanted:
        key = f"{kind}_{place}"
        if place == POOL:
            if len(heads) != 1:
                raise UserError(
                    f"Expected a backbone with one last layer for {kind}@{place} in model.attention, {name!r} averages "
                    f"{len(heads)}; place a block after a stage, or choose another backbone"
                )
            blocks[key] = ATTENTION[kind](heads[0].weight.shape[1])
            heads[0].register_forward_pre_hook(_Before(blocks[key]))
        else:
            stage = found.get(int(place))
            if stage is None:
                raise UserError(_absent(name, f"{kind}@{place}", found))
            blocks[key] = ATTENTION[kind](stage.channels)
            stage.module.register_forward_hook(_Through(blocks[key], stage.last))
    net.add_module(CHILD, blocks.train(net.training))


def load(net: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Load blocks' tensors, changed in place; blocks that the weights do not hold stay fresh.

    Args:
        net: with its blocks inserted.
        state: tensors of blocks by key.
        source: what the weights are called in an error.

    Raises:
        UserError: a tensor that no block of the network takes.
    """
    own = net.state_dict()
    if foreign := [k for k, v in state.items() if k not in own or own[k].shape != v.shape]:
        raise UserError(
            f"The weights {source} hold {foreign[0]!r}, of an attention block that model.attention does not place; "
            "set model.attention to what they were trained with, or choose other weights"
        )
    net.load_state_dict(state, strict=False)


def stages(net: nn.Module, channels: int, size: int) -> dict[int, Stage]:
    """The convolutional stages of a timm network by their numbers, from 1; none for other networks.

    They are the entries of its `feature_info` that lower the image's sides fourfold or more, as far as they give maps;
    what comes before is its stem. Where an entry is a layer within a cell (NASNet, Xception), the stage is what comes
    into that cell: the maps of the cell before it.

    Args:
        net: its mode stays as it is.
        channels: of the input.
        size: side of the input in pixels.
    """
    info = getattr(net, "feature_info", None) or []
    described = [entry for entry in getattr(info, "info", info) if entry.get("reduction", 0) >= _STEM]
    modules = dict(net.named_modules())
    names = [entry.get("module", "") for entry in described]
    hosts = [_host(modules, name) for name in names]
    read = {name: modules[name] for name in [*hosts, *names] if name in modules}
    outputs = _outputs(net, read, channels, size)
    found = {}
    for number, (entry, name, host) in enumerate(zip(described, names, hosts, strict=True), start=1):
        if name in outputs and host in outputs:
            axis = _axis(net, outputs[name], entry["num_chs"])
            found[number] = Stage(modules[host], outputs[host][axis], axis == 3)
    return found


def _axis(net: nn.Module, shape: torch.Size, channels: int) -> int:
    """Where the channels stand in maps, 1 or 3: where there are as many as described, else as the network declares."""
    declared = 3 if getattr(net, "output_fmt", None) == "NHWC" else 1
    return declared if shape[declared] == channels or shape[4 - declared] != channels else 4 - declared


def _host(modules: dict[str, nn.Module], name: str) -> str:
    """The module itself, or the one before the cell that it is a layer of; "" where there is none."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        cell = ".".join(parts[:depth])
        if not isinstance(modules.get(cell), nn.Sequential | nn.ModuleList):
            parent = ".".join(parts[: depth - 1])
            siblings = [key for key, _ in modules[parent].named_children()]
            before = siblings.index(parts[depth - 1]) - 1 if parts[depth - 1] in siblings else -1
            return ".".join([*parts[: depth - 1], siblings[before]]) if before >= 0 else ""
    return name


@torch.no_grad()
def _outputs(net: nn.Module, modules: dict[str, nn.Module], channels: int, size: int) -> dict[str, torch.Size]:
    """Shapes of what modules give for a blank image, of those that run once and give one tensor of rank 4."""
    shapes: dict[str, torch.Size] = {}
    calls: Counter[str] = Counter()

    def note(name: str, output: Any) -> None:
        calls[name] += 1
        if isinstance(output, torch.Tensor) and output.ndim == 4 and len(output) == 1:
            shapes[name] = output.shape

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, module in modules.items()
    ]
    training = net.training
    try:
        net.eval()(torch.zeros(1, channels, size, size))
    finally:
        net.train(training)
        for handle in handles:
            handle.remove()
    return {name: shape for name, shape in shapes.items() if calls[name] == 1}


def _absent(name: str, wanted: str, found: dict[int, Stage]) -> str:
    places = ", ".join(f"{n} ({stage.channels} channels)" for n, stage in found.items())
    has = (
        f"has stages {places}, and {POOL}"
        if found
        else f"describes no stage of convolutional maps, it has {POOL} alone"
    )
    return f"Expected a place that the backbone has in model.attention, got {wanted!r}: {name!r} {has}; set one of them"

"""Where to read a network's activations for Grad-CAM: found from its own description, proved by a probe.

timm networks describe themselves (`feature_info`, `output_fmt`, `num_prefix_tokens`, `patch_embed`); for others the
stages are found by running the network once. Every candidate is tried on a dummy batch, deepest first, and taken only
if its output is a finite spatial map whose gradient is finite and not zero: in a ViT that reads its class token the
patch tokens after the last block have none, and the input of the last block's attention is taken.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cellml.explain import layouts

Forward = Callable[[torch.Tensor], torch.Tensor]
_HEADS = ("head", "heads", "classifier", "fc", "avgpool", "global_pool", "AuxLogits", "aux1", "aux2")


@dataclass(frozen=True)
class Target:
    """A module to read, its dotted name, and the layout of its output."""

    name: str
    module: nn.Module
    layout: layouts.Layout

    def to_maps(self, output: torch.Tensor) -> torch.Tensor:
        """Output of the module, as (N, h, w, C)."""
        return self.layout.to_maps(output)


@dataclass(frozen=True)
class Unserved:
    """No module could be used: the reason, for the record."""

    reason: str


@contextmanager
def tapped(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect a module's outputs as the leaves of the gradient graph.

    With parameters frozen nothing before the module is recorded, so that a backward pass costs only what follows it.
    What follows gets a copy: an operation in place would otherwise change what was collected.
    """
    taken: list[torch.Tensor] = []

    def take(_: nn.Module, __: Any, output: Any) -> Any:
        tensor = _tensor(output)
        if tensor is None:
            return output
        leaf = tensor.detach().requires_grad_()
        taken.append(leaf)
        copy = leaf.clone()
        return copy if output is tensor else type(output)([copy, *output[1:]])

    handle = module.register_forward_hook(take)
    try:
        yield taken
    finally:
        handle.remove()


def resolve(
    net: nn.Module, forward: Forward, dummy: torch.Tensor, *, layer: str | None, grid: int
) -> Target | Unserved:
    """The deepest module that can serve, proved on a dummy batch.

    Args:
        net: the backbone, its parameters frozen and in eval mode.
        forward: from (N, C, H, W) images to (N, K) logits, through `net`.
        dummy: (N, C, H, W) images of the size that will be explained.
        layer: dotted name of a module in `net` to use instead of the candidates, or None.
        grid: the fewest positions a side wanted; where no module has as many, the finest one serves.

    Returns:
        The target, or the reason why there is none.
    """
    core = _core(net)
    reasons: list[str] = []
    coarse: list[Target] = []
    for name in [layer] if layer else _candidates(core, forward, dummy):
        found = probe(core, name, forward, dummy)
        if isinstance(found, Unserved):
            reasons.append(f"{name}: {found.reason}")
        elif layer or min(found.layout.height, found.layout.width) >= grid:
            return found
        else:
            coarse.append(found)
    if coarse:
        return max(coarse, key=lambda t: t.layout.height * t.layout.width)
    return Unserved("; ".join(reasons[:3]) if reasons else "no module with a spatial output")


def probe(core: nn.Module, name: str, forward: Forward, dummy: torch.Tensor) -> Target | Unserved:
    """Try one module on a dummy batch; see `resolve`."""
    try:
        module = core.get_submodule(name)
    except AttributeError:
        return Unserved("no such module")
    gradient = None
    with tapped(module) as taken, torch.enable_grad():
        logits = forward(dummy)
        if len(taken) == 1 and logits.requires_grad:
            gradient = torch.autograd.grad(logits[:, 0].sum(), taken[0], allow_unused=True)[0]
    if len(taken) != 1:
        return Unserved(f"gives {len(taken)} spatial outputs in one pass, expected 1")
    layout = layouts.find(core, name, taken[0], tuple(dummy.shape[2:]))
    if layout is None:
        return Unserved(f"output {tuple(taken[0].shape)} is no map of a {dummy.shape[2]}x{dummy.shape[3]} image")
    fault = _fault(layout, taken[0], gradient)
    return Unserved(fault) if fault else Target(name, module, layout)


def _fault(layout: layouts.Layout, output: torch.Tensor, gradient: torch.Tensor | None) -> str | None:
    if layout.height * layout.width < 2:
        return "its map is a single position"
    if gradient is None or not torch.count_nonzero(layout.to_maps(gradient)):
        return "the gradient at the image's positions is zero"
    if not (torch.isfinite(gradient).all() and torch.isfinite(output).all()):
        return "activations or gradients are not finite"
    return None


def _core(net: nn.Module) -> nn.Module:
    """The network itself, where it stands inside a wrapper."""
    for module in net.modules():
        if hasattr(module, "feature_info") or type(module).__module__.startswith("torchvision.models."):
            return module
    return net


def _tensor(output: Any) -> torch.Tensor | None:
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) and output.ndim in (3, 4) else None


def _candidates(core: nn.Module, forward: Forward, dummy: torch.Tensor) -> Iterator[str]:
    described = _described(core)
    yield from described
    yield from (name for name in _traced(core, forward, dummy) if name not in described)


def _described(core: nn.Module) -> list[str]:
    """Candidates that a timm network names itself, deepest first."""
    names: list[str] = []
    blocks = getattr(core, "blocks", None)
    if hasattr(core, "num_prefix_tokens") and isinstance(blocks, nn.Sequential | nn.ModuleList) and len(blocks):
        last = len(blocks) - 1
        names += [f"blocks.{last}", f"blocks.{last}.norm1"] if hasattr(blocks[last], "norm1") else [f"blocks.{last}"]
    known = {name for name, _ in core.named_modules()}
    names += [stage["module"] for stage in reversed(layouts.stages(core)) if stage.get("module") in known]
    return names


def _traced(core: nn.Module, forward: Forward, dummy: torch.Tensor) -> list[str]:
    """Stages and blocks with an output of rank 3 or 4, the last to finish first."""
    order: list[str] = []
    handles = []
    for name, module in _blocks(core):

        def note(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            if _tensor(output) is not None:
                order.append(name)

        handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            forward(dummy[:1])
    finally:
        for handle in handles:
            handle.remove()
    return list(reversed(order))


def _blocks(core: nn.Module, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, nn.Module]]:
    for name, child in core.named_children():
        if depth == 0 and name in _HEADS:
            continue
        yield prefix + name, child
        if isinstance(child, nn.Sequential | nn.ModuleList) or (depth == 0 and _holds_stack(child)):
            yield from _blocks(child, f"{prefix}{name}.", depth + 1)


def _holds_stack(module: nn.Module) -> bool:
    """Does most of it stand in one sequence of blocks, as in a torchvision encoder?"""
    size = sum(p.numel() for p in module.parameters())
    stacks = [c for c in module.children() if isinstance(c, nn.Sequential | nn.ModuleList)]
    return any(sum(p.numel() for p in s.parameters()) > size / 2 for s in stacks)

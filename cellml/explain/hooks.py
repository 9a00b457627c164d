"""Where to read a network's activations for Grad-CAM: found from its own description, proved by a probe.

timm networks describe themselves (`feature_info`, `output_fmt`, `num_prefix_tokens`, `patch_embed`); for others the
stages are found by running the network once. Every candidate is tried on a dummy batch, deepest first, and taken only
if its output is a finite spatial map whose gradient is finite and not zero: in a ViT that reads its class token the
patch tokens after the last block have none, and the input of the last block's attention is taken.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cellml.errors import UserError, near
from cellml.explain import layouts

Forward = Callable[[torch.Tensor], torch.Tensor]
_FAULTS = (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError)  # of an unfit input
_ENDS = (
    "stem",
    "patch_embed",
    "head",
    "heads",
    "classifier",
    "fc",
    "avgpool",
    "global_pool",
    "AuxLogits",
    "aux1",
    "aux2",
)


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
        return copy if output is tensor else type(output)([copy if part is tensor else part for part in output])

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

    Raises:
        UserError: the network does not take such images.
    """
    core = _core(net)
    described = _described(core)
    wanted = [layer] if layer else [*described, *(name for name, _ in _blocks(core))]
    outputs = _trace(core, wanted, forward, dummy)
    if layer:
        return probe(core, layer, forward, dummy)
    others = [name for name in reversed(outputs) if name not in described]
    reasons: list[str] = []
    for names in (described, others):
        for name in _by_grid(core, {n: outputs[n] for n in names if n in outputs}, dummy, grid):
            found = probe(core, name, forward, dummy)
            if isinstance(found, Target):
                return found
            reasons.append(f"{name}: {found.reason}")
    return Unserved("; ".join(reasons[:3]) if reasons else "no module gives a map of the image")


def probe(core: nn.Module, name: str, forward: Forward, dummy: torch.Tensor) -> Target | Unserved:
    """Try one module on a dummy batch; see `resolve`."""
    try:
        module = core.get_submodule(name)
    except AttributeError:
        return Unserved(f"no such module; {near(name, _described(core) or [n for n, _ in _blocks(core)])}")
    gradient = None
    with tapped(module) as taken, torch.enable_grad():
        try:
            logits = forward(dummy)
        except _FAULTS as error:
            return Unserved(f"its output cannot be read: {_line(error)}")
        if len(taken) == 1 and logits.requires_grad:
            gradient = torch.autograd.grad(logits[:, 0].sum(), taken[0], allow_unused=True)[0]
    if len(taken) != 1:
        return Unserved(f"gives {len(taken)} spatial outputs in one pass, expected 1")
    layout = layouts.find(core, name, taken[0], tuple(dummy.shape[2:]))
    if layout is None:
        return Unserved(f"output {tuple(taken[0].shape)} is no map of a {dummy.shape[2]}x{dummy.shape[3]} image")
    target = Target(name, module, layout)
    fault = _fault(layout, taken[0], gradient)
    guessed = layout.kind == "NLC" and not layouts.declared(core, layout, tuple(dummy.shape[2:]))
    if fault is None and guessed and not follows(target, forward, dummy):
        fault = "its positions do not lie in the image's order"
    return Unserved(fault) if fault else target


@torch.no_grad()
def follows(target: Target, forward: Forward, dummy: torch.Tensor) -> bool:
    """Does a change in each corner of an image change that corner of the maps more than changes elsewhere do?

    Tokens can stand in another order than the image's rows (by windows, say), or be no positions at all (a state's
    dimensions), which no shape tells.
    """
    images = dummy[:1].repeat(5, 1, 1, 1)
    for image, (rows, columns) in zip(images[1:], _corners(*dummy.shape[2:]), strict=True):
        image[:, rows, columns] = dummy[-1].flip(1, 2)[:, rows, columns]
    with tapped(target.module) as taken:
        forward(images)
    maps = target.to_maps(taken[0].detach())
    moved = (maps[1:] - maps[:1]).abs().sum(dim=3)
    moved = moved / moved.sum(dim=(1, 2), keepdim=True)
    shares = torch.stack([moved[:, r, c].sum(dim=(1, 2)) for r, c in _corners(*moved.shape[1:])], dim=1)
    return bool((shares.argmax(dim=0) == torch.arange(4, device=shares.device)).all())


def _corners(height: int, width: int) -> list[tuple[slice, slice]]:
    """Top left, top right, bottom left, bottom right, a quarter of a side each and at least one position."""
    high, wide = max(1, height // 4), max(1, width // 4)
    return [(r, c) for r in (slice(high), slice(-high, None)) for c in (slice(wide), slice(-wide, None))]


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
    """The output itself; of several the first that stands for whole images, not for parts of them side by side."""
    parts = output if isinstance(output, tuple | list) else (output,)
    spatial = [part for part in parts if isinstance(part, torch.Tensor) and part.ndim in (3, 4)]
    return min(spatial, key=len) if spatial else None


def _described(core: nn.Module) -> list[str]:
    """Candidates that a timm network names itself, deepest first."""
    names: list[str] = []
    blocks = getattr(core, "blocks", None)
    if hasattr(core, "num_prefix_tokens") and isinstance(blocks, nn.Sequential | nn.ModuleList) and len(blocks):
        last = f"blocks.{len(blocks) - 1}"
        names += [last, f"{last}.norm1"] if hasattr(blocks[-1], "norm1") else [last]
    known = {name for name, _ in core.named_modules()}
    names += [stage["module"] for stage in reversed(layouts.stages(core)) if stage.get("module") in known]
    return names


def _trace(core: nn.Module, names: Iterable[str], forward: Forward, dummy: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each of some modules gives for one image where that is of rank 3 or 4; the last to finish stands last."""
    outputs: dict[str, torch.Tensor] = {}
    handles = []
    modules = dict(core.named_modules())
    for name in dict.fromkeys(name for name in names if name in modules):

        def note(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            tensor = _tensor(output)
            if tensor is not None:
                outputs.pop(name, None)
                outputs[name] = tensor

        handles.append(modules[name].register_forward_hook(note))
    try:
        with torch.no_grad():
            forward(dummy[:1])
    except _FAULTS as error:
        raise UserError(
            f"Expected a network that takes images of shape {tuple(dummy.shape[1:])}, its forward pass fails: "
            f"{_line(error)}; explain images of the size and channels that it was trained on"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _by_grid(core: nn.Module, outputs: dict[str, torch.Tensor], dummy: torch.Tensor, grid: int) -> list[str]:
    """The modules that give a map: in their order those as fine as wanted, then the others, finest first."""
    found = {n: layouts.find(core, n, output, tuple(dummy.shape[2:])) for n, output in outputs.items()}
    sides = {name: (layout.height, layout.width) for name, layout in found.items() if layout is not None}
    return sorted(sides, key=lambda name: 0 if min(sides[name]) >= grid else 1 / math.prod(sides[name]))


def _blocks(core: nn.Module, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, nn.Module]]:
    for name, child in core.named_children():
        if (depth == 0 and name in _ENDS) or name == "downsample":
            continue
        yield prefix + name, child
        if isinstance(child, nn.Sequential | nn.ModuleList) or _holds_stack(child):
            yield from _blocks(child, f"{prefix}{name}.", depth + 1)


def _holds_stack(module: nn.Module) -> bool:
    """Does most of it stand in one sequence of blocks, as in a torchvision encoder, or is there one by that name?"""
    if hasattr(module, "blocks"):
        return True
    size = sum(p.numel() for p in module.parameters())
    stacks = [c for c in module.children() if isinstance(c, nn.Sequential | nn.ModuleList)]
    return any(sum(p.numel() for p in s.parameters()) > size / 2 for s in stacks)


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]

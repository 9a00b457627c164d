"""Which device and precision to compute in, and how many threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from cellml.errors import UserError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def pick(name: str = "auto") -> torch.device:
    """The device to compute on.

    Args:
        name: auto (the first of cuda, mps, cpu that is there), cpu, cuda or mps.

    Raises:
        UserError: the named device is not there, or is none of these.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, available in there.items() if available)
    if name not in there:
        raise UserError(f"Expected a device among auto, cpu, cuda and mps, got {name!r}")
    if not there[name]:
        raise UserError(f"Expected a {name} device, found none here; set train.device to auto or cpu")
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


def cores() -> int:
    """The cores that this process may use, fewer than the machine's in a container or a job that is pinned."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them; none without CUDA."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return [name.strip() for name in given.split(",")][:count] if given else [str(k) for k in range(count)]


def precision(name: str, device: torch.device) -> Precision:
    """Lightning's name of the precision to train in.

    Args:
        name: auto (bf16 on a GPU that has it, 16 on another, 32 elsewhere), 32, bf16 or 16.
        device: what `pick` gave.

    Raises:
        UserError: 16 on a CPU, which has no use for it.
    """
    if name == "auto":
        if device.type != "cuda":
            return "32-true"
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    if name == "16" and device.type == "cpu":
        raise UserError("Expected train.precision 32 or bf16 on a CPU, got 16; set it to auto")
    table: dict[str, Precision] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
    return table[name]


def layout(device: torch.device) -> torch.memory_format:
    """How images and filters lie in memory: channels last on a GPU and, faster for most backbones, on a CPU."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def lay_out(model: torch.nn.Module, memory_format: torch.memory_format) -> None:
    """Lay a model's filters out in place."""
    model.to(memory_format=memory_format)  # type: ignore[call-overload]


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Limit torch's threads within a block; None leaves them."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, on: torch.device) -> Iterator[None]:
    """Seed torch's global generators within a block, and give them back as they were."""
    devices = [on] if on.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield

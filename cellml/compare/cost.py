"""What a model costs: multiplications, time and memory an image, measured in this run on this machine."""

import math
import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

CALLS = 20  # whose median is taken
FEWEST = 3  # calls of a model so slow that CALLS of them would take longer than SECONDS
SECONDS = 10.0
BATCHES = (1, 64)

Call = Callable[[npt.NDArray], Any]


@dataclass(frozen=True)
class Cost:
    """Figures of a model; NaN where they are not known.

    Attributes:
        params_m: parameters, in millions.
        gmacs: billions of multiply-accumulate operations an image, its views and members counted.
        ms_batch_1: milliseconds of a call with one image.
        ms_batch_64: milliseconds an image of a call with 64 images.
        mb_batch_1: memory of a call with one image, in MB (10^6 bytes), weights included.
        mb_batch_64: the same with 64 images.
    """

    params_m: float = math.nan
    gmacs: float = math.nan
    ms_batch_1: float = math.nan
    ms_batch_64: float = math.nan
    mb_batch_1: float = math.nan
    mb_batch_64: float = math.nan


COLUMNS = tuple(Cost.__dataclass_fields__)


def measure(
    call: Call, model: nn.Module | None, images: npt.NDArray, on: torch.device, known: Sequence[float] = ()
) -> Cost:
    """Measure a model on images in memory.

    On a CPU what is timed is `call`, the registered program; on a GPU, which a registered program does not use, the
    network rebuilt from its weights.

    Args:
        call: the registered program, warmed up.
        model: the same as a module, or None where its weights are gone.
        images: (64, H, W, C), of the model's dtype.
        on: the device.
        known: seconds of calls with 64 images that were made anyway; counted where `call` is what is timed.
    """
    if model is None:
        single, batch = (latency(call, images[:n]) for n in BATCHES) if on.type == "cpu" else (math.nan, math.nan)
        return Cost(ms_batch_1=single, ms_batch_64=batch)
    model.to(on).eval()
    try:
        timed, known = (call, known) if on.type == "cpu" else (_synchronised(model, on), ())
        return Cost(
            params_m=sum(p.numel() for p in model.parameters()) / 1e6,
            gmacs=gmacs(model, images[:1]),
            ms_batch_1=latency(timed, images[:1]),
            ms_batch_64=latency(timed, images, known),
            mb_batch_1=memory(model, images[:1]),
            mb_batch_64=memory(model, images),
        )
    finally:
        model.to("cpu")


def gmacs(model: nn.Module, image: npt.NDArray) -> float:
    """Billions of multiply-accumulate operations of one call, of matrix products and convolutions, by torch's counter.

    A multiply-accumulate is two of its floating point operations. Attention is counted by the products that it is
    made of: the counter passes over some fused kernels.

    Args:
        model: in evaluation mode.
        image: (1, H, W, C).
    """
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(_tensor(model, image))
    return counter.get_total_flops() / 2e9


def latency(call: Call, images: npt.NDArray, known: Sequence[float] = ()) -> float:
    """Median milliseconds an image of `CALLS` calls after a warm-up, or of as many as `SECONDS` allow.

    Args:
        call: takes the images.
        images: (N, H, W, C), in memory.
        known: seconds of calls of N images that were made before, warm.
    """
    seconds = list(known)[:CALLS]
    if not seconds:
        call(images)
    end = time.perf_counter() + SECONDS
    while len(seconds) < FEWEST or (len(seconds) < CALLS and time.perf_counter() < end):
        start = time.perf_counter()
        call(images)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds) / len(images)


def memory(model: nn.Module, images: npt.NDArray) -> float:
    """Megabytes of weights and of the tensors alive at once in a call, at their most; the images do not count.

    On a GPU by CUDA's own account of what it allocated, work space of kernels included; elsewhere by following every
    tensor from its making to its end, work space not seen.

    Args:
        model: in evaluation mode.
        images: (N, H, W, C).
    """
    inputs = _tensor(model, images)
    state = [*model.parameters(), *model.buffers()]
    with torch.inference_mode():
        if inputs.device.type == "cuda":
            torch.cuda.synchronize(inputs.device)
            before = torch.cuda.memory_allocated(inputs.device)
            torch.cuda.reset_peak_memory_stats(inputs.device)
            model(inputs)
            torch.cuda.synchronize(inputs.device)
            peak = torch.cuda.max_memory_allocated(inputs.device) - before
        else:
            with _Alive([*state, inputs]) as alive:
                model(inputs)
            peak = alive.peak
    return (peak + sum(tensor.nbytes for tensor in state)) / 1e6


def describe(on: torch.device) -> str:
    """The device and, of a CPU, how many threads it is given."""
    if on.type == "cuda":
        return torch.cuda.get_device_name(on)
    count = torch.get_num_threads()
    return f"{_processor()}, {count} thread{'' if count == 1 else 's'}"


class _Alive(TorchDispatchMode):
    """Bytes of the tensors that exist at once, and their most, `peak`; views of a tensor count once."""

    def __init__(self, known: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._storages = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata not in self._storages:
                self._storages.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return made

    def _gone(self, storage: int, size: int) -> None:
        self._storages.discard(storage)
        self.now -= size


def _tensor(model: nn.Module, images: npt.NDArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).to(next(model.parameters()).device)


def _synchronised(model: nn.Module, on: torch.device) -> Call:
    inputs: dict[int, torch.Tensor] = {}

    def call(images: npt.NDArray) -> None:
        there = inputs.setdefault(len(images), _tensor(model, images))
        with torch.inference_mode():
            model(there)
        if on.type == "cuda":
            torch.cuda.synchronize(on)

    return call


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or f"{os.cpu_count()} cores"

"""Optimiser, learning-rate schedule and averaged weights."""

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import cellml.vision  # noqa: F401  torchvision has to be importable before timm is
from cellml import config

# isort: split
from timm.optim import param_groups_layer_decay

M = TypeVar("M", bound=nn.Module)


def groups(net: nn.Module, settings: config.Train) -> list[dict[str, Any]]:
    """Parameters in groups: biases, norms and what the network itself exempts do not decay.

    With `settings.layer_decay` below 1 a group a layer, whose learning rate is lower the earlier the layer stands:
    timm's `param_groups_layer_decay` (after Bao et al. 2022, BEiT, arXiv 2106.08254).
    """
    named = getattr(net, "no_weight_decay", None)
    exempt: set[str] = set(named()) if callable(named) else set()
    if settings.layer_decay < 1:
        layers = param_groups_layer_decay(
            net, settings.weight_decay, no_weight_decay_list=exempt, layer_decay=settings.layer_decay
        )
        return [layer | {"lr": settings.lr * layer["lr_scale"]} for layer in layers]
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            (kept if parameter.ndim <= 1 or name in exempt else decayed).append(parameter)
    made = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in made if group["params"]]


def optimizer(net: nn.Module, settings: config.Train) -> torch.optim.Optimizer:
    """AdamW, Adam, Adagrad, or SGD with Nesterov momentum 0.9, without decay on norms and biases."""
    parameters = groups(net, settings)
    fused = next(net.parameters()).device.type in ("cpu", "cuda")
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=settings.lr, momentum=0.9, nesterov=True, fused=fused)
    if settings.optimizer == "adagrad":
        return torch.optim.Adagrad(parameters, lr=settings.lr)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=settings.lr, fused=fused)


def schedule(over: torch.optim.Optimizer, settings: config.Train, steps: int) -> lr_scheduler.LRScheduler:
    """The learning rate step by step: one-cycle (Smith and Topin, 2018), cosine to zero, or constant in stages.

    Args:
        over: the optimiser; groups of parameters keep the ratio of the learning rates that they have in it.
        settings: `schedule`, `lr`, the peak, and `lr_after`.
        steps: optimiser steps of the whole fit, `settings.epochs` epochs.
    """
    if settings.schedule == "onecycle":
        peaks = [group["lr"] for group in over.param_groups]
        cycled = bool({"momentum", "betas"} & set(over.defaults))  # Adagrad has neither
        return lr_scheduler.OneCycleLR(over, max_lr=peaks, total_steps=steps, cycle_momentum=cycled)
    if settings.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(over, T_max=steps)
    stages = sorted(settings.lr_after.items())

    def factor(step: int) -> float:
        done = step * settings.epochs // steps
        return next((rate for epoch, rate in reversed(stages) if epoch <= done), settings.lr) / settings.lr

    return lr_scheduler.LambdaLR(over, factor)


class Average(Generic[M]):
    """Exponential moving average of a model's parameters and buffers.

    The decay grows as (1 + t) / (10 + t) up to the given one, so that the first steps do not hold a short fit back.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.model: M = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0
        pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))
        self._floats = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
        self._others = [(mine, theirs) for mine, theirs in pairs if not mine.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the followed model's present values."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        mine, theirs = zip(*self._floats, strict=True)
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for own, followed in self._others:
            own.copy_(followed)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*(p.data for p in model.parameters()), *model.buffers()]

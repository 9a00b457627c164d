"""Which of a network's parameters a mode trains."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from cellml import config
from cellml.models import backbones, depth, hidden, lora, placement
from cellml.models.classifier import Classifier

_WHOLE = {
    "head": [hidden.CHILD],
    "lora": [placement.CHILD],
    "last_stage": [placement.CHILD],
}  # trained, beside the last
FROZEN_TRUNK = ("frozen", "head")  # modes in which nothing but the head learns


@contextmanager
def adapted(model: Classifier, settings: config.Model) -> Iterator[None]:
    """A block in which a mode's parameters alone can be trained; after it the network is a plain one again.

    `finetune`: all. `head`: hidden and last layer. `lora`: low-rank updates, which are added to the weights at the end,
    the last layer and attention blocks. `last_stage`: the last stage and what comes after it, and attention blocks.

    Args:
        model: changed in place; the trained layers keep what they learnt.
        settings: `mode` and `lora`.

    Raises:
        UserError: targets of LoRA that match no layer, or a network without stages.
    """
    if settings.mode == "finetune":
        yield
        return
    net = model.net
    learning = {id(parameter) for parameter in _learning(net, settings)}
    frozen = [p for p in net.parameters() if p.requires_grad and id(p) not in learning]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        lora.merge(net)
        for parameter in frozen:
            parameter.requires_grad_(True)


def still(net: nn.Module) -> None:
    """Put the parts that learn nothing in evaluation mode: their batch statistics stay, their dropout is off."""
    for module in net.modules():
        holds = [*module.parameters(), *module.buffers()]
        if holds and not any(tensor.requires_grad for tensor in holds):
            module.eval()


def count(net: nn.Module) -> int:
    """How many parameters are trained."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def _learning(net: nn.Module, settings: config.Model) -> list[nn.Parameter]:
    whole: list[nn.Module] = [layer for _, layer in backbones.last_layers(net)]
    whole += [getattr(net, child) for child in _WHOLE[settings.mode] if hasattr(net, child)]
    found = [p for module in whole for p in module.parameters()]
    if settings.mode == "last_stage":
        names = depth.last_stage(settings.backbone, net)
        found += [p for key, p in net.named_parameters() if key in names]
    if settings.mode == "lora":
        own = settings.lora
        lora.insert(settings.backbone, net, rank=own.rank, alpha=own.alpha, targets=own.targets, but=whole)
        found += lora.parameters(net)
    return found

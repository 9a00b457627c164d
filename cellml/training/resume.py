"""All that a fit's next epoch depends on, taken after one epoch and put back before another.

Lightning's own checkpoints are not used: they leave out buffers that are not part of a state_dict, such as the vectors
of power iterations, the averaged weights, and the generators that batches and augmentation are drawn with.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cellml.training.checkpoint import State

if TYPE_CHECKING:
    from cellml.training.module import Module


def taken(module: "Module") -> State:
    """The state of a fit after an epoch, by reference."""
    trainer: Any = module.trainer
    average, heads = module.average, module.heads
    return {
        "history": [{name: float(value) for name, value in record.items()} for record in module.history],
        "best": (module.best_epoch, module.best_value, module.best_state),
        "network": tensors(module.classifier),
        "average": None if average is None else (tensors(average.model), average.steps),
        "heads": None if heads is None else tensors(heads),
        "optimizer": trainer.optimizers[0].state_dict(),
        "schedule": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
        "precision": trainer.precision_plugin.state_dict(),
        "random": [source.get_state() for source in _sources(module)],
        "further": module.further_state(),
    }


@torch.no_grad()
def put_back(module: "Module", state: State) -> None:
    """Make a fit that begins go on from a state; its tensors keep their layout in memory.

    Raises:
        ValueError: a state of another network or optimiser; nothing was changed.
    """
    trainer: Any = module.trainer
    pairs = [(tensors(module.classifier), state["network"])]
    if module.average is not None:
        pairs.append((tensors(module.average.model), state["average"][0]))
    if module.heads is not None:
        pairs.append((tensors(module.heads), state["heads"]))
    for own, saved in pairs:
        if [one.shape for one in own] != [one.shape for one in saved]:
            raise ValueError("tensors of other shapes")
    trainer.optimizers[0].load_state_dict(state["optimizer"])
    trainer.lr_scheduler_configs[0].scheduler.load_state_dict(state["schedule"])
    trainer.precision_plugin.load_state_dict(state["precision"])
    for own, saved in pairs:
        for one, value in zip(own, saved, strict=True):
            one.copy_(value)
    if module.average is not None:
        module.average.steps = state["average"][1]
    for source, value in zip(_sources(module), state["random"], strict=True):
        source.set_state(value)
    module.further_resume(state["further"])
    module.history = list(state["history"])
    module.best_epoch, module.best_value, module.best_state = state["best"]
    trainer.fit_loop.max_epochs -= len(module.history)


def tensors(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers, those that no state_dict has among them."""
    found: Iterable[Tensor] = (*model.parameters(), *model.buffers())
    return [tensor.detach() for tensor in found]


def _sources(module: "Module") -> list[Any]:
    """What random numbers are drawn from: torch's own on the CPU and the GPU, that of the batches, the module's."""
    trainer: Any = module.trainer
    own = [torch.default_generator, trainer.train_dataloader.generator, module.generator]
    return own if module.device.type != "cuda" else [*own, torch.cuda.default_generators[module.device.index or 0]]

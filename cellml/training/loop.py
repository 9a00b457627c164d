"""Lightning's Trainer, quiet and without files: nothing but the loop, the precision and the device."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

import cellml.vision  # noqa: F401  torchvision has to be importable before lightning is

# isort: split
import lightning as L
from lightning.fabric.plugins.environments import LightningEnvironment

from cellml.training.device import Precision

# Lightning's parts log under the name of whichever of its packages was imported last; mlflow imports the second.
_LOGGERS = [
    f"{name}{ending}" for name in ("lightning.pytorch", "pytorch_lightning") for ending in ("", ".utilities.rank_zero")
]
_LOGGERS += ["lightning.fabric", "lightning_fabric"]


def run(
    module: L.LightningModule,
    batches: Any,
    validation: Any | None,
    *,
    epochs: int,
    device: torch.device,
    precision: Precision,
) -> None:
    """Fit a module for some epochs; whatever a hook raises, and an interrupt from the keyboard, comes out as it was.

    Args:
        module: what to fit.
        batches: iterable with a length, iterated anew each epoch.
        validation: the same, or None for no validation.
        epochs: at most.
        device: to compute on.
        precision: Lightning's name of it.
    """
    with _quiet(), _interruptible():
        trainer = L.Trainer(
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision=precision,
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=None if validation is not None else 0,
            use_distributed_sampler=False,
            plugins=[LightningEnvironment()],  # a batch system's variables must not turn this into one rank of many
        )
        try:
            trainer.fit(module, batches, validation)
        finally:
            module.trainer = None


@contextmanager
def _quiet() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler.step\(\)` before")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning turns an interrupt into exit status 1 and ignores later ones: undo both."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        interrupt = error.__context__
        if isinstance(interrupt, KeyboardInterrupt):  # or what a handler of SIGTERM made of it
            raise interrupt from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)

"""Self-supervised pretraining: a backbone learns from images alone, two random views of each at a time."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cellml import config
from cellml.config import Experiment
from cellml.data import augment
from cellml.data.prepare import Dataset
from cellml.evaluation import metrics
from cellml.evaluation.predictions import Predictions
from cellml.models import backbones, head
from cellml.models.classifier import Classifier
from cellml.sampling.base import Sample
from cellml.training import arrays, device, finetune, loop, optim, probe, vicreg
from cellml.training.job import initial
from cellml.training.loop import L
from cellml.training.module import Diverged
from cellml.training.progress import Bar
from cellml.training.score import probabilities

METHOD = "vicreg"
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass
class Pretrained:
    """A pretrained network and how it came to be.

    Attributes:
        classifier: in evaluation mode, on the CPU; its last layer is a linear probe of the training rows.
        history: a record an epoch from 0, the network before pretraining: `train/loss` and its terms, `lr` and, of the
            epochs that were probed, `probe/<metric>` of the validation rows.
        validation: predictions of the validation rows by `classifier`.
    """

    classifier: Classifier
    history: list[dict[str, float]]
    validation: Predictions


class Module(L.LightningModule):
    """Trains the network within a classifier on arrays in memory, labels unused."""

    def __init__(
        self,
        model: Classifier,
        images: arrays.Arrays,
        settings: config.Pretrain,
        seed: int,
        on_epoch: OnEpoch,
        bar: Bar,
    ) -> None:
        super().__init__()
        self.classifier, self.images, self.settings, self.bar = model, images, settings, bar
        self.seed, self.on_epoch, self.epoch = seed, on_epoch, 0
        width = sum(layer.weight[0].numel() for _, layer in backbones.last_layers(model.net))
        self.projector = vicreg.projector(width, settings.width)
        self._sums, self._steps = torch.zeros(4), 0

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle schedule, stepped after every batch."""
        own = self.settings
        rates = config.Train(epochs=own.epochs, lr=own.lr, weight_decay=own.weight_decay)
        optimizer = optim.optimizer(nn.ModuleList([self.classifier.net, self.projector]), rates)
        schedule = optim.schedule(optimizer, rates, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """The model is on its device now: lay it out, make the device's generator."""
        device.lay_out(self.classifier, device.layout(self.device))
        self.generator = torch.Generator(self.device).manual_seed(self.seed)
        self._sums = torch.zeros(4, device=self.device)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of two views of the images at a batch's positions."""
        rows, _ = batch
        z = self.projector(backbones.embed(self.classifier.net, torch.cat([self.view(rows), self.view(rows)])))
        with torch.autocast(self.device.type, enabled=False):
            found = vicreg.terms(*z.float().chunk(2))
            loss = found.loss
        self._sums += torch.stack([loss, found.invariance, found.variance, found.covariance]).detach()
        self._steps += 1
        return loss

    def view(self, rows: Tensor) -> Tensor:
        """Normalised images (N, C, S, S), each changed at random."""
        model = self.classifier
        images = (self.images.take(rows) - model.low) / model.scale
        images = augment.augment(images, self.settings.augment, model.spec.size, self.generator)
        return ((images - model.mean) / model.std).contiguous(memory_format=device.layout(self.device))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Follow with the bar."""
        self.bar.step(outputs["loss"])

    def on_train_epoch_end(self) -> None:
        """Record the epoch."""
        self.epoch += 1
        names = ("loss", "invariance", "variance", "covariance")
        record = {f"train/{k}": v for k, v in zip(names, (self._sums / self._steps).tolist(), strict=True)}
        self._sums.zero_()
        self._steps = 0
        if not abs(record["train/loss"]) < float("inf"):
            raise Diverged(
                f"Expected a finite loss, got {record['train/loss']} in epoch {self.epoch}: the training diverged; "
                f"lower pretrain.lr (now {self.settings.lr:g})"
            )
        record["lr"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.bar.epoch(self.epoch, record)
        self.on_epoch(self.epoch, record)


def pretrain(
    experiment: Experiment,
    dataset: Dataset,
    *,
    on_epoch: OnEpoch | None = None,
    start: Classifier | None = None,
    progress: bool = True,
) -> Pretrained:
    """Pretrain `model.backbone` on the training images with VICReg, and probe it on the validation rows.

    The labels serve the probes alone, and the last layer that the network gets at the end. The weights are those of the
    last epoch.

    Args:
        experiment: its `pretrain` section, with `model`, `input` and, of `train`, the seed, the device and the penalty
            of the probe, `weight_decay`.
        dataset: prepared data.
        on_epoch: called with the epoch, 0 before the first, and its record; what it raises comes out of here.
        start: a classifier to start from instead of `model.weights`.
        progress: show a bar.

    Raises:
        UserError: a backbone or weights that do not fit, or a network without a linear last layer.
        Diverged: the loss became NaN or infinite.
    """
    own, settings = experiment.pretrain, experiment.train
    train, on = dataset.manifest.split("train"), device.pick(settings.device)
    precision = device.precision(settings.precision, on)
    history: list[dict[str, float]] = []
    latest: list[tuple[Classifier, Predictions]] = []

    def epoch_done(epoch: int, record: dict[str, float]) -> None:
        if epoch % own.probe == 0 or epoch == own.epochs:
            latest[:] = [_probed(model, dataset, settings.weight_decay, on)]
            record |= {f"probe/{name}": value for name, value in metrics.compute(latest[0][1]).items()}
        history.append(record)
        if on_epoch is not None:
            on_epoch(epoch, dict(record))

    with device.threads(settings.threads), device.seeded(settings.seed, on):
        pixels = finetune.with_margin(dataset, train, experiment.input, own.augment)
        plain = experiment.replace({"model.mode": "finetune", "sampling.strategy": METHOD})
        model = initial(plain, train, finetune.central(pixels, experiment.input.size), start).to(on)
        epoch_done(0, {})
        images = arrays.load(pixels, arrays.labels(train), on)
        order = torch.Generator().manual_seed(settings.seed)
        steps = max(1, len(train) // own.batch_size)
        every = Sample(np.arange(len(train)), np.ones(len(train), dtype=np.float32))
        batches = arrays.Batches(every, own.batch_size, order, on, steps)
        with Bar(f"{model.spec.backbone} {METHOD}", own.epochs, steps, progress) as bar:
            module = Module(model, images, own, settings.seed, epoch_done, bar)
            loop.run(module, batches, None, epochs=own.epochs, device=on, precision=precision)
    ((classifier, validation),) = latest
    device.lay_out(classifier, torch.contiguous_format)
    return Pretrained(classifier, history, validation)


def _probed(model: Classifier, dataset: Dataset, l2: float, on: torch.device) -> tuple[Classifier, Predictions]:
    """A copy on the CPU with a linear probe as its last layer, and what it says of the validation rows."""
    train, validation = dataset.manifest.split("train"), dataset.manifest.split("val")
    copied, spec = copy.deepcopy(model).eval(), model.spec
    head.put(copied.net, probe.fit(copied, dataset, train, l2), spec.channels, spec.size)
    judged = arrays.load(dataset.pixels.resized(spec.crop, spec.size, validation.rows), arrays.labels(validation), on)
    return copied, Predictions.of(validation, probabilities(copied, judged, on).numpy())

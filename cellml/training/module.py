"""The LightningModule: augment, mix and step; score the validation images after each epoch; keep the best weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cellml.data import augment
from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.models.classifier import Classifier
from cellml.models.generative import Generative
from cellml.training import adapt, auxiliary, device, losses, optim, resume
from cellml.training.arrays import Arrays
from cellml.training.checkpoint import State
from cellml.training.job import Job
from cellml.training.loop import L
from cellml.training.progress import Bar


class Diverged(UserError, FloatingPointError):
    """The loss became NaN or infinite."""


class Module(L.LightningModule):
    """Trains a classifier on arrays in memory.

    Attributes:
        history: a record of figures an epoch.
        best_epoch: counted from 1.
        best_state: the network's tensors there, with `monitor`; else those of the last epoch.
        best_value: of `monitor` there, the larger the better.
    """

    def __init__(
        self,
        job: Job,
        classifier: Classifier,
        train: Arrays,
        validation: Arrays | None,
        bar: Bar,
        further: Sequence[int] = (),
    ) -> None:
        """`further` are the numbers of values of each auxiliary label, behind the classes in the training targets."""
        super().__init__()
        self.job, self.settings, self.bar = job, job.experiment.train, bar
        self.classifier = classifier
        self.train_arrays, self.validation_arrays = train, validation
        self.loss = losses.build(
            self.settings.loss, self.settings.loss_options, classifier.spec.classes, job.mass.tolist()
        )
        self.heads = auxiliary.Heads(classifier.net, further) if further else None
        self.average: optim.Average[Classifier] | None = None
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] = {}
        self.best_value = float("-inf")
        self._scored: list[Tensor] = []
        self._total, self._seen = torch.zeros(()), 0

    def configure_optimizers(self) -> Any:
        """The optimiser with its schedule, stepped after every batch."""
        optimizer = optim.optimizer(self.classifier.net, self.settings)
        if self.heads is not None:
            optimizer.add_param_group({"params": list(self.heads.parameters())})
        schedule = optim.schedule(optimizer, self.settings, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """The model is on its device now: lay it out, copy it, make the device's generator; go on where it ended."""
        self._layout = device.layout(self.device)
        device.lay_out(self.classifier, self._layout)
        self.generator = torch.Generator(self.device).manual_seed(self.settings.seed)
        self._total = torch.zeros((), device=self.device)
        if self.settings.ema:
            self.average = optim.Average(self.classifier, self.settings.ema)
        if self.job.checkpoint is not None and (state := self.job.checkpoint.load()) is not None:
            try:
                resume.put_back(self, state)
            except ValueError as error:
                self.job.checkpoint.refuse(error)
            else:
                self._replay()

    def on_fit_end(self) -> None:
        """The network is handed out without the hooks that the auxiliary heads read it by."""
        if self.heads is not None:
            self.heads.remove()

    def on_train_epoch_start(self) -> None:
        """What is not trained does not change: its batch statistics neither."""
        if self.job.experiment.model.mode != "finetune":
            adapt.still(self.classifier.net)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of one batch of positions and weights."""
        rows, weights = batch
        images, targets, weights = self.batch(rows, weights)
        targets, further = targets.tensor_split([len(self.classifier.spec.classes)], dim=1)
        net, beside = self.classifier.net, torch.zeros((), device=images.device)
        if isinstance(net, Generative):
            logits, beside = net.learn(images, targets, weights)
        else:
            logits = net(images)
        values = self.loss(logits.float(), losses.smooth(targets, self.settings.label_smoothing))
        if self.heads is not None:
            values = values + self.settings.auxiliary * self.heads.loss(further)
        loss = losses.weighted(values, weights) + beside
        self._total += loss.detach() * len(rows)
        self._seen += len(rows)
        return loss

    def batch(self, rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the network is trained on: normalised images (N, C, S, S), targets (N, K + A) and weights (N,).

        A network that models the images' density is given whole pixel values with noise of a step's width: a density
        of discrete values has no bound (Uria et al. 2013, arXiv 1306.0186).
        """
        c, changes = self.classifier, self.settings.augment
        images = (self.train_arrays.take(rows) - c.low) / c.scale
        images = augment.augment(images, changes, c.spec.size, self.generator)
        targets = self.train_arrays.labels(rows)
        images, targets, weights = augment.mix(images, targets, weights, changes, self.generator)
        if isinstance(c.net, Generative):
            noise = torch.rand(images.shape, generator=self.generator, device=images.device)
            images = images + (noise - 0.5) / c.scale
        images = (images - c.mean) / c.std
        return images.contiguous(memory_format=self._layout), targets, weights

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Follow with the average and the bar."""
        if self.average is not None:
            self.average.update()
        self.bar.step(outputs["loss"])

    def on_validation_epoch_start(self) -> None:
        """The averaged network never left training: what evaluation needs is derived from its present weights."""
        if self.average is not None:
            _settle(self.current)

    def validation_step(self, rows: Tensor, index: int) -> None:
        """Logits of the prepared images at these positions."""
        assert self.validation_arrays is not None
        self._scored.append(self.current.logits(self.validation_arrays.take(rows)).float())

    def scored(self) -> Tensor:
        """Logits of the validation images since the last call, in order, (N, K)."""
        logits = torch.cat(self._scored)
        self._scored.clear()
        return logits

    def on_train_epoch_end(self) -> None:
        """Record the epoch, keep the weights if they are the best, stop if they have not been for long."""
        epoch = len(self.history) + 1
        record = {"train/loss": self._total.item() / self._seen}
        self._total.zero_()
        self._seen = 0
        value = float("nan")
        if self.validation_arrays is not None:
            logits, wanted = self.scored(), self.validation_arrays.targets
            known = wanted.sum(1) > 0
            record["val/loss"] = self.loss(logits[known], wanted[known]).mean().item()
            self._check(epoch, record)
            figures = metrics.compute(self.job.answer(torch.softmax(logits, 1)))
            record |= {f"val/{name}": figure for name, figure in figures.items()}
            value = figures[self.settings.monitor]
        self._check(epoch, record)
        record["lr"] = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)
        self.history.append(record)
        self._keep(epoch, value)
        if self.job.checkpoint is not None:
            self.job.checkpoint.offer(lambda: resume.taken(self))
        self.bar.epoch(epoch, record, self.settings.monitor)
        if self.job.on_epoch is not None:
            self.job.on_epoch(epoch, dict(record))
        self._stop_early()

    @property
    def current(self) -> Classifier:
        """The classifier that is judged and handed out: the average where there is one."""
        return self.classifier if self.average is None else self.average.model

    def further_state(self) -> State:
        """What a fit's next epoch depends on beyond what every module has."""
        return {}

    def further_resume(self, state: State) -> None:
        """Put back what `further_state` gave."""

    def _replay(self) -> None:
        """Tell of the epochs that are over."""
        self.bar.reach(len(self.history) * self.bar.steps)
        for epoch, record in enumerate(self.history, 1):
            if self.job.on_epoch is not None:
                self.job.on_epoch(epoch, dict(record))
        self._stop_early()

    def _stop_early(self) -> None:
        patience, epoch = self.settings.patience, len(self.history)
        if self.validation_arrays is not None and patience and epoch - self.best_epoch >= patience:
            self.trainer.should_stop = True

    def _keep(self, epoch: int, value: float) -> None:
        if self.validation_arrays is None or self.settings.keep == "last":
            if epoch == self.job.epochs:
                _settle(self.current)
                self.best_epoch, self.best_state = epoch, _copy(self.current)
            return
        value = value if metrics.higher_is_better(self.settings.monitor) else -value
        if value > self.best_value or not self.best_epoch:
            self.best_value, self.best_epoch, self.best_state = value, epoch, _copy(self.current)

    def _check(self, epoch: int, record: dict[str, float]) -> None:
        for name in ("train/loss", "val/loss"):
            figure = record.get(name, 0.0)
            if not abs(figure) < float("inf"):
                raise Diverged(
                    f"Expected a finite loss, got {name} = {figure} in epoch {epoch}: the training diverged; "
                    f"lower train.lr (now {self.settings.lr:g})"
                )


def _settle(classifier: Classifier) -> None:
    if isinstance(classifier.net, Generative):
        classifier.net.settle()


def _copy(classifier: Classifier) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in classifier.state_dict().items()}

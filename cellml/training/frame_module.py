"""The LightningModule of sequences: whole sequences a batch, gradients through pieces of them, padding left out."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from cellml.data.augment_frames import augment_frames
from cellml.models.classifier import SequenceClassifier
from cellml.models.temporal.base import real
from cellml.training import frame_arrays, losses
from cellml.training.checkpoint import State
from cellml.training.frame_arrays import FrameArrays
from cellml.training.job import Job
from cellml.training.module import Module
from cellml.training.progress import Bar

# Of each training sequence log p (T, K), None before training: the classes (T,) that its frames are taken to be of.
Align = Callable[[list[npt.NDArray[np.float64]] | None], list[npt.NDArray[np.int64]]]


@runtime_checkable
class Aligned(Protocol):
    """An `Align` that can be gone on with."""

    def state(self) -> State:
        """Where it stands."""

    def resume(self, state: State) -> None:
        """Stand there."""


class FrameModule(Module):
    """Trains a sequence classifier on frames in memory; see `Module`.

    With masks a network that draws learns BCE(drawing, mask x image) + w CE(stages) per frame (the centre-cell
    tracker's joint loss), w `sequence.tracker.classification`; the others, or without masks, CE alone.
    """

    classifier: SequenceClassifier

    def __init__(
        self,
        job: Job,
        classifier: SequenceClassifier,
        train: FrameArrays,
        validation: FrameArrays | None,
        bar: Bar,
        align: Align | None = None,
    ) -> None:
        """`align` gives the training frames' labels anew before each epoch but the first."""
        super().__init__(job, classifier, train, validation, bar)
        self.automatic_optimization = False
        self.train_frames, self.validation_frames, self.align = train, validation, align
        self._said: list[tuple[Tensor, Tensor]] = []
        self.chunk = job.experiment.sequence.chunk
        self.draws = classifier.net.draws and train.masks is not None
        self.share = job.experiment.sequence.tracker.classification if self.draws else 1.0

    @property
    def current(self) -> SequenceClassifier:
        """See `Module.current`."""
        return cast(SequenceClassifier, super().current)

    def on_train_epoch_start(self) -> None:
        """Labels that follow from transcripts are found anew."""
        if self.align is not None and self.history:
            self.train_frames = realigned(self.current, self.train_frames, self.align)
            self.train()

    def further_state(self) -> State:
        """The labels that were found, and what finds them."""
        if not isinstance(self.align, Aligned):
            return {}
        return {
            "targets": self.train_frames.targets,
            "weights": self.train_frames.weights,
            "align": self.align.state(),
        }

    def further_resume(self, state: State) -> None:
        """See `Module.further_resume`."""
        if isinstance(self.align, Aligned):
            found = {name: state[name].to(self.device) for name in ("targets", "weights")}
            self.train_frames = replace(self.train_frames, **found)
            self.align.resume(state["align"])

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of one batch of whole sequences; gradients of its pieces are added up for one step of the optimiser."""
        sequences, _ = batch
        rows, lengths = self.train_frames.pick(sequences.to(self.device))
        frames, drawn = self.views(rows)
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        inside = real(lengths, rows.shape[1]).to(rows.device)
        weights = self.train_frames.weights[rows] * inside
        seen = (weights > 0).sum().clamp_min(1)
        masked = inside & self.train_frames.masked[rows] if self.train_frames.masked is not None else inside
        loss = torch.zeros((), device=self.device)
        state: tuple[Tensor, ...] = ()
        was = torch.arange(len(lengths))
        for start, stop in pieces(rows.shape[1], self.chunk):
            now = (lengths > start).nonzero().flatten()
            part = (now.to(rows.device), slice(start, stop))
            left = (lengths[now] - start).clamp_max(stop - start)
            state = tuple(one[torch.isin(was, now).to(one.device)] for one in state)
            said = self.classifier.net.run(
                frames[part], left.to(rows.device) if left.min() < stop - start else None, state, self.draws
            )
            values = self.loss(said.logits.flatten(0, 1).float(), self._targets(rows[part].flatten()))
            term = self.share * (values * weights[part].flatten()).sum() / seen
            if said.drawn is not None and drawn is not None:
                off = F.binary_cross_entropy_with_logits(said.drawn.float(), drawn[part], reduction="none")
                term = term + (off.mean((2, 3, 4)) * masked[part]).sum() / masked.sum().clamp_min(1)
            self.manual_backward(term)
            loss = loss + term.detach()
            state = tuple(one.detach() for one in said.state)
            was = now
        optimizer.step()
        schedule: Any = self.lr_schedulers()
        schedule.step()
        self._total += loss * len(lengths)
        self._seen += len(lengths)
        return loss

    def views(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the network is trained on: normalised frames (N, T, C, S, S), and mask x image (ditto) or None."""
        c, masks = self.classifier, self.train_frames.masks
        frames = (self.train_frames.frames(rows) - c.low) / c.scale
        marked = masks[rows.to(masks.device)].to(rows.device) if self.draws and masks is not None else None
        frames, marked = augment_frames(frames, marked, self.settings.augment, c.spec.size, self.generator)
        drawn = None if marked is None else frames.clamp(0, 1) * marked[:, :, None]
        return (frames - c.mean) / c.std, drawn

    def validation_step(self, rows: Tensor, index: int) -> None:
        """Logits of the validation sequences at these positions."""
        assert self.validation_frames is not None
        self._said.append(frame_arrays.logits(self.current, self.validation_frames, rows))

    def scored(self) -> Tensor:
        """Logits of the validation frames, in their rows' order, (R, K)."""
        rows, values = (torch.cat(parts) for parts in zip(*self._said, strict=True))
        self._said.clear()
        return torch.empty_like(values).index_copy_(0, rows, values)

    def _targets(self, rows: Tensor) -> Tensor:
        return losses.smooth(self.train_frames.targets[rows], self.settings.label_smoothing)


def pieces(length: int, chunk: int | None) -> Iterator[tuple[int, int]]:
    """Where pieces of at most `chunk` frames, as long as each other as can be, start and stop in a sequence."""
    count = 1 if chunk is None else -(-length // chunk)
    size = -(-length // count)
    return ((start, min(start + size, length)) for start in range(0, length, size))


def realigned(model: SequenceClassifier, frames: FrameArrays, align: Align) -> FrameArrays:
    """Training frames with the labels that `align` gives for what a model says of them."""
    on = frames.targets.device
    said = frame_arrays.probabilities(model, frames, on).double().clamp_min(1e-12).log().numpy()
    model.to(on)
    places = [row[:length] for row, length in zip(frames.places.cpu().numpy(), frames.lengths.tolist(), strict=True)]
    found = align([said[rows] for rows in places])
    targets = torch.zeros(len(frames.pixels), said.shape[1])
    for rows, classes in zip(places, found, strict=True):
        targets[rows, classes] = 1.0
    return frames.labelled(targets)

"""Prepared frames in memory, padded batches of whole sequences, and what a model says of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cellml.data.manifest import Manifest
from cellml.data.timelines import padded, timelines
from cellml.models.classifier import SequenceClassifier
from cellml.models.views import COUNTS
from cellml.training import arrays
from cellml.training.arrays import Arrays
from cellml.training.score import SCORED


@dataclass(frozen=True)
class FrameArrays(Arrays):
    """Frames and labels of one split; as many as it has sequences.

    Attributes:
        pixels: (R, S', S', C) uint8 or uint16, raw values of the rows' frames.
        targets: (R, K) float32 class probabilities, zeros where the class is unknown.
        weights: (R,) float32 of the frames' losses, 0 where the class is unknown.
        places: (S, T) rows of each sequence's frames in order of time, the last one repeated to the longest's length.
        lengths: (S,) int64, on the CPU.
        masks: (R, S', S') uint8, 1 on the cell in the middle, or None.
        masked: (R,) bool, the rows that have a mask, or None.
    """

    weights: Tensor
    places: Tensor
    lengths: Tensor
    masks: Tensor | None = None
    masked: Tensor | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def pick(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (N, T) of some sequences' frames, T the longest's length, and the lengths (N,)."""
        lengths = self.lengths[sequences.cpu()]
        return self.places[sequences.to(self.places.device), : int(lengths.max())], lengths

    def frames(self, rows: Tensor) -> Tensor:
        """The frames at rows (N, T) as (N, T, C, S', S') float32 raw values, on the rows' device."""
        chosen = self.pixels[rows.to(self.pixels.device)].to(rows.device)
        return chosen.permute(0, 1, 4, 2, 3).float()

    def labelled(self, targets: Tensor) -> "FrameArrays":
        """The same with other labels (R, K): all of one weight, or each class of as much in all as it had before."""
        given = targets.to(self.targets)
        weights = torch.ones_like(self.weights)
        if self.weights.unique().numel() > 1:
            total = self.weights @ self.targets
            weights = given @ (total / given.sum(0).clamp_min(1))
        return replace(self, targets=given, weights=weights)


def load(
    manifest: Manifest,
    pixels: npt.NDArray,
    targets: Tensor,
    device: torch.device,
    *,
    weights: npt.NDArray | None = None,
    masks: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None = None,
) -> FrameArrays:
    """Put a split's frames on a device; frames too many for it stay in main memory.

    Args:
        manifest: R rows that are frames of movies.
        pixels: (R, S', S', C) uint8 or uint16.
        targets: (R, K), zeros where the class is unknown.
        device: where batches are wanted.
        weights: (R,) of the losses; None: 1 where the class is known.
        masks: (R, S', S'), and which rows have one (R,), or None.
    """
    known = (targets.sum(1) > 0).float()
    own = known if weights is None else torch.as_tensor(weights, dtype=torch.float32) * known
    places, lengths = padded(timelines(manifest))
    images = arrays.load(pixels, targets, device)
    marked = None if masks is None else torch.from_numpy(masks[0].astype(np.uint8)).to(images.pixels.device)
    return FrameArrays(
        pixels=images.pixels,
        targets=images.targets,
        weights=own.to(device),
        places=torch.from_numpy(places).to(device),
        lengths=torch.from_numpy(lengths),
        masks=marked,
        masked=None if masks is None else torch.from_numpy(masks[1]).to(device),
    )


def targets_of(manifest: Manifest, soft: bool) -> Tensor:
    """Class probabilities of a manifest's R frames, (R, K) float32, zeros where the class is unknown."""
    shares = manifest.soft_targets
    if soft and shares is not None:
        return torch.tensor(shares, dtype=torch.float32)
    known = torch.from_numpy(manifest.known_targets)[:, None]
    return (known == torch.arange(len(manifest.classes))).float()


def logits(model: SequenceClassifier, of: FrameArrays, sequences: Tensor) -> tuple[Tensor, Tensor]:
    """What a model says of some whole sequences: rows of their frames (M,), and logits (M, K), padding left out."""
    rows, frames, lengths, inside = _batch(model, of, sequences)
    return rows[inside], model.logits(frames, lengths)[inside].float()


def probabilities(model: SequenceClassifier, of: FrameArrays, on: torch.device) -> Tensor:
    """Probabilities (R, K) in full precision, views averaged; the model ends on the CPU in evaluation mode.

    Args:
        model: its `tta` says whether it averages.
        of: R prepared frames.
        on: device to compute on.
    """
    model.to(on).eval()
    found = torch.zeros(len(of.pixels), len(model.spec.classes))
    with torch.inference_mode():
        for alike in same_lengths(of.lengths, max(1, SCORED // COUNTS[model.spec.tta])):
            rows, frames, _, _ = _batch(model, of, alike.to(on))
            found[rows.cpu().flatten()] = model.probabilities(frames).flatten(0, 1).cpu()
    model.to("cpu")
    return found


def same_lengths(lengths: Tensor, frames: int) -> Iterator[Tensor]:
    """Positions of sequences in batches of one length, with `frames` frames together or one sequence."""
    for length in lengths.unique().tolist():
        yield from (lengths == length).nonzero().flatten().split(max(1, frames // length))


def _batch(
    model: SequenceClassifier, of: FrameArrays, sequences: Tensor
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Rows (N, T), the central windows of their frames, lengths where they differ, and what is no padding (N, T)."""
    rows, lengths = of.pick(sequences)
    size = model.spec.size
    start = (of.pixels.shape[1] - size) // 2
    frames = of.frames(rows)[..., start : start + size, start : start + size]
    inside = (torch.arange(rows.shape[1]) < lengths[:, None]).to(rows.device)
    return rows, frames, None if inside.all() else lengths.to(rows.device), inside

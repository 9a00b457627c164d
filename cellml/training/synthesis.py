"""Synthetic training images: made once, before training, from the rows that a strategy chose."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cellml.data import offline
from cellml.sampling.base import Sample, TrainingRows

Strip = tuple[str, list[npt.NDArray]]
AT_ONCE = 1 << 24  # values blended at once


def images(pixels: npt.NDArray, sample: Sample, items: npt.NDArray[np.int64] | None = None) -> npt.NDArray:
    """The images of synthetic items: two training images blended, or one of them changed.

    Args:
        pixels: (N, S, S, C) uint8 or uint16, of the training rows.
        sample: M items.
        items: (L,) which of them; None: all synthetic ones.

    Returns:
        (L, S, S, C) of the same type, rounded.
    """
    wanted = np.flatnonzero(sample.synthetic) if items is None else items
    made = np.empty((len(wanted), *pixels.shape[1:]), dtype=pixels.dtype)
    step = max(1, AT_ONCE // max(1, pixels[0].size))
    for start in range(0, len(wanted), step):
        made[start : start + step] = _blended(pixels, sample, wanted[start : start + step])
    if sample.transforms is not None:
        places = np.flatnonzero(sample.transforms[wanted] > 0)
        made[places] = _changed(pixels, sample, wanted[places])
    return made


def changed(pixels: npt.NDArray, sample: Sample) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
    """Which of a sample's items are training images changed offline, (L,), and their images (L, S, S, C)."""
    if sample.transforms is None:
        return np.zeros(0, dtype=np.int64), pixels[:0]
    items = np.flatnonzero(sample.transforms > 0)
    return items, _changed(pixels, sample, items)


def extended(
    pixels: npt.NDArray, labels: Tensor, sample: Sample, training: TrainingRows
) -> tuple[npt.NDArray, Tensor, Sample]:
    """Training images with the synthetic ones behind them, their labels, and the sample as positions among both.

    Args:
        pixels: (N, S, S, C), of the training rows.
        labels: (N, K + A) class probabilities, and whatever else is known of a row in columns behind them.
        sample: M items.
        training: the N rows.

    Returns:
        (N + L, S, S, C), (N + L, K + A), and a sample without blends or transforms.
    """
    synthetic = sample.synthetic
    if not synthetic.any():
        return pixels, labels, sample
    rows = sample.rows.copy()
    rows[synthetic] = len(pixels) + np.arange(synthetic.sum())
    said = np.hstack([sample.targets(training), sample.features(labels[:, len(training.classes) :].numpy())])
    made = torch.from_numpy(said[synthetic]).to(labels.dtype)
    plain = replace(sample, rows=rows, partners=None, mix=None, transforms=None)
    return np.concatenate([pixels, images(pixels, sample)]), torch.cat([labels, made]), plain


def strips(
    pixels: npt.NDArray, sample: Sample, training: TrainingRows, *, blend: bool = True, count: int = 24
) -> list[Strip]:
    """Some synthetic items beside what they were made of, spread evenly over the sample; none where it has none.

    Args:
        pixels: (N, S, S, C), of the training rows.
        sample: M items.
        training: the N rows.
        blend: show blended images; without, the parents alone, since their embeddings were blended.
        count: at most so many.

    Returns:
        A caption and images: a training row, what was made of it, and its partner where it has one.
    """
    synthetic = np.flatnonzero(sample.synthetic)
    chosen = np.unique(np.linspace(0, len(synthetic) - 1, min(count, len(synthetic))).round().astype(int))
    items, found = synthetic[chosen], []
    for item, made in zip(items, images(pixels, sample, items), strict=True):
        row, caption = sample.rows[item], str(training.kinds[sample.rows[item]])
        if sample.partners is None or sample.mix is None or sample.mix[item] == 0:
            found.append((f"{caption} | changed", [pixels[row], made]))
            continue
        partner, share = sample.partners[item], f"{sample.mix[item]:.0%} of the right one"
        middle, between = ([made], f"made, {share}") if blend else ([], f"between them, {share}")
        found.append((f"{caption} | {between} | {training.kinds[partner]}", [pixels[row], *middle, pixels[partner]]))
    return found


def _changed(pixels: npt.NDArray, sample: Sample, items: npt.NDArray[np.int64]) -> npt.NDArray:
    assert sample.transforms is not None
    return offline.transform(pixels[sample.rows[items]], sample.transforms[items], sample.seed, items)


def _blended(pixels: npt.NDArray, sample: Sample, chosen: npt.NDArray[np.int64]) -> npt.NDArray:
    first = pixels[sample.rows[chosen]]
    if sample.partners is None or sample.mix is None:
        return first
    share = sample.mix[chosen].astype(np.float32)[:, None, None, None]
    second = pixels[sample.partners[chosen]]
    return np.rint((1 - share) * first.astype(np.float32) + share * second.astype(np.float32)).astype(pixels.dtype)

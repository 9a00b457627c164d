"""Counterfactuals of one pair of classes, and what another model makes of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from cellml.data import geometry
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation import counterfactuals as measures
from cellml.explain import counterfactual
from cellml.explain.counterfactual.base import Counterfactual
from cellml.models.classifier import Classifier

BATCH, STEPS = 64, 9
WALKS = 3  # cells whose walk is kept, a pair
Array = npt.NDArray[np.float64]
Sides = tuple[Array, npt.NDArray[np.object_]]  # figures (N, F, C) of images, and their groups (N,)


@dataclass(frozen=True)
class Judged:
    """Counterfactuals of one pair of classes, and what both models say of them.

    Attributes:
        found: N of them.
        rows: (N,) the cells.
        probabilities: (N, 2, K) of the model, before and after.
        said: (N, 2) class indices that the judge gives to the images before and after.
        realism: (N,) see `measures.realism`.
        span: (C,) range of the channels.
        walked: (W,) places among the N of cells whose walk is kept, the first that reached the boundary.
        walks: (W, STEPS, C, S, S) images from the original to the changed one.
    """

    found: Counterfactual
    rows: Manifest
    probabilities: Array
    said: npt.NDArray[np.int64]
    realism: Array
    span: Array
    walked: npt.NDArray[np.int64]
    walks: npt.NDArray[np.float32]


def judge_them(
    model: Classifier,
    judge: Classifier,
    dataset: Dataset,
    cells: Manifest,
    pair: tuple[str, str],
    method: str,
    means: torch.Tensor | None,
    real: Array,
) -> Judged:
    """Change the cells of one class into another, and ask a second model.

    Args:
        model: whose decision is crossed.
        judge: that had no part in it.
        dataset: behind the cells.
        cells: N >= 1 rows of the source class.
        pair: names of source and target.
        method: of `counterfactual.METHODS`.
        means: mean embeddings of the classes by the model, where the method wants them.
        real: (M, D) embeddings of training cells of the target class by the judge.
    """
    source, target = (model.spec.classes.index(name) for name in pair)
    parts: list[Counterfactual] = []
    before, after, said, embedded = [], [], [], []
    for prepared in batches(model, dataset, cells):
        found = counterfactual.find(method, model, prepared, source, target, means)
        changed = _rounded(found.changed, model.spec.dtype)
        if not parts:
            walked = np.flatnonzero(found.reached)[:WALKS]
            walks = found.walk[:0]
            if len(walked):
                walks = counterfactual.find(method, model, prepared[walked], source, target, means, walk=STEPS).walk
        parts.append(found)
        with torch.no_grad():
            before.append(model.probabilities(torch.from_numpy(found.original)).numpy())
            after.append(model.probabilities(torch.from_numpy(changed)).numpy())
            sights = [_resized(judge, one) for one in (_rounded(found.original, model.spec.dtype), changed)]
            said.append(np.stack([judge.probabilities(one).argmax(dim=1).numpy() for one in sights], axis=1))
            embedded.append(judge.embed(sights[1]).numpy())
    whole = Counterfactual(
        method=method,
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("original", "boundary", "changed", "source", "target", "reached", "steps", "walk")
        },
    )
    spec = model.spec
    return Judged(
        whole,
        cells,
        np.stack([np.concatenate(before), np.concatenate(after)], axis=1).astype(np.float64),
        np.concatenate(said),
        measures.realism(np.concatenate(embedded), real),
        np.asarray(spec.high, dtype=np.float64) - np.asarray(spec.low, dtype=np.float64),
        walked,
        walks,
    )


def figures(judged: Judged) -> dict[str, float | int]:
    """Means over the cells that reached the boundary; validity over all, those that did not count as failed."""
    found, well = judged.found, judged.found.reached
    before, after = (judged.said == found.target[:, None]).T
    near_, still = (f(found.original, found.changed, judged.span) for f in (measures.proximity, measures.sparsity))
    means = {"proximity": near_, "sparsity": still, "realism": judged.realism}
    return {
        "n": len(found),
        "reached": float(well.mean()),
        "validity": float((after & well).mean()),
        "already": float(before.mean()),
        **{name: float(values[well].mean()) for name, values in means.items() if well.any()},
    }


def changes(judged: Judged, real: tuple[Sides, Sides], names: Sequence[str]) -> list[dict[str, str | float]]:
    """What counterfactuals change in each channel, beside how real cells of both classes differ.

    Args:
        judged: of one pair of classes.
        real: figures and groups of real cells of the source and of the target class.
        names: of the channels; empty for their numbers.

    Returns:
        A row a channel and figure: `before`, `after`, `change`, `low`, `high`, and `real`, `real_low`, `real_high`;
        none where no cell reached the boundary.
    """
    found, well = judged.found, judged.found.reached
    if not well.any():
        return []
    before, after = (measures.of_channels(images[well]) for images in (found.original, found.changed))
    made = measures.changes(before, after, judged.rows.groups[well])
    rows: list[dict[str, str | float]] = []
    for one, other in zip(made, measures.differences(*real[0], *real[1]), strict=True):
        rows.append(
            {
                "channel": names[one.channel] if names else f"channel {one.channel}",
                "of": one.of,
                "before": one.before,
                "after": one.after,
                "change": one.relative,
                "low": one.low,
                "high": one.high,
                "real": other.relative,
                "real_low": other.low,
                "real_high": other.high,
            }
        )
    return rows


def sides(model: Classifier, dataset: Dataset, rows: Manifest) -> dict[str, Sides]:
    """Figures of the channels of real cells and their groups, by class."""
    found = np.concatenate([measures.of_channels(part.numpy()) for part in batches(model, dataset, rows)])
    return {
        name: (found[rows.targets == k], rows.groups[rows.targets == k]) for k, name in enumerate(model.spec.classes)
    }


def table(judged: Judged, classes: Sequence[str]) -> pd.DataFrame:
    """A row a cell."""
    found = judged.found
    made = pd.DataFrame({"id": judged.rows.ids, "group": judged.rows.groups, "reached": found.reached})
    made["step_boundary"], made["step_end"] = found.steps.T
    rows = np.arange(len(found))
    made["p_before"], made["p_after"] = judged.probabilities[rows, :, found.target].T
    made["judge_before"], made["judge"] = np.array(classes, dtype=object)[judged.said].T
    made["proximity"] = measures.proximity(found.original, found.changed, judged.span)
    made["sparsity"] = measures.sparsity(found.original, found.changed, judged.span)
    made["realism"] = judged.realism
    pairs = (("before", measures.of_channels(found.original)), ("after", measures.of_channels(found.changed)))
    for c in range(found.original.shape[1]):
        for name, figured in pairs:
            for f, of in enumerate(measures.FIGURES):
                made[f"{of}_{name}_{c}"] = figured[:, f, c]
    return made


def batches(model: Classifier, dataset: Dataset, rows: Manifest) -> Iterator[torch.Tensor]:
    """Prepared raw pixel values (N, C, S, S) of rows, BATCH at a time."""
    pixels = dataset.pixels.resized(model.spec.crop, model.spec.size, rows.rows)
    for start in range(0, len(pixels), BATCH):
        yield torch.from_numpy(pixels[start : start + BATCH]).permute(0, 3, 1, 2).float()


@torch.no_grad()
def embedded(judge: Classifier, dataset: Dataset, rows: Manifest) -> Array:
    """What the judge's last layer sees of rows, (R, D)."""
    return np.concatenate([judge.embed(part).numpy() for part in batches(judge, dataset, rows)]).astype(np.float64)


def _rounded(images: npt.NDArray[np.float32], dtype: str) -> npt.NDArray[np.float32]:
    """What a file could hold: whole numbers within the pixels' type."""
    return np.rint(images).clip(0, np.iinfo(dtype).max)


def _resized(judge: Classifier, images: npt.NDArray[np.float32]) -> torch.Tensor:
    """Images of the model's size as the judge sees them; both look at the same part of the cell."""
    return geometry.fit(torch.from_numpy(images).permute(0, 2, 3, 1), None, judge.spec.size)

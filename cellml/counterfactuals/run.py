"""Counterfactuals of all pairs of classes, into a run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cellml.counterfactuals import judged as judging
from cellml.counterfactuals.judged import Judged
from cellml.counterfactuals.settings import Settings, check, pairs, shown
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.data.report import many
from cellml.errors import UserError
from cellml.evaluation import intervals
from cellml.explain import panels
from cellml.explain.counterfactual import figures, latent, section
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.models.generative import Generative
from cellml.sequences.overlay.video import Gif
from cellml.tracking.names import slug
from cellml.tracking.run import Run

FOLDER = "counterfactuals"
ON_PLANE = 400  # cells in the section between two classes
Say = Callable[[str], None]


def run(
    model: Classifier, judge: Classifier, dataset: Dataset, settings: Settings, tracked: Run, names: str, say: Say
) -> None:
    """Change test cells of each class into the others, and log what that takes.

    Logs under `counterfactuals/` a sheet, walks (PNG, GIF) and `cells.csv` a pair of classes, and over all pairs
    `summary.csv` (validity, proximity, sparsity, realism), whose figures are metrics, too, and `changes.csv` (change of
    each channel's mean and spread with its 95 % interval over groups, beside the difference of real cells).

    Args:
        model: whose decision is crossed.
        judge: a classifier that had no part in it, of the same classes and the same part of the image.
        dataset: with test rows, or else validation rows.
        settings: which classes, how many cells.
        tracked: the run that receives it all.
        names: model and method, for titles.
        say: prints a line.

    Raises:
        UserError: models that do not go together, a class or method that there is not, or no cell of a class.
    """
    check(model, judge, dataset, settings)
    method = settings.method or ("means" if isinstance(model.net, Generative) else "search")
    classes = model.spec.classes
    rows, train = shown(dataset), dataset.manifest.split("train")
    means = None
    if isinstance(model.net, Generative):
        means = latent.class_means(model, judging.batches(model, dataset, train))
    known = judging.embedded(judge, dataset, train)
    real_cells = judging.sides(model, dataset, rows)
    summary: list[dict[str, str | float]] = []
    changes: list[dict[str, str | float]] = []
    with tracked.artifacts() as top:
        (top / FOLDER).mkdir()
        for source, target in pairs(classes, settings):
            cells, lost = _of_class(model, dataset, rows, source, settings)
            if lost:
                say(f"{source}: {many(lost, 'cell')} that the model gives to another class left out")
            if not len(cells):
                say(f"{source} to {target} is left out: no such cells, or the model gives none of them to {source}")
                continue
            real = known[train.targets == classes.index(target)]
            judged = judging.judge_them(model, judge, dataset, cells, (source, target), method, means, real)
            folder = top / FOLDER / _folder(source, target)
            folder.mkdir()
            _draw(judged, model, folder, f"{names}, {method}", settings.channels)
            _section(model, dataset, rows, (source, target), folder)
            judging.table(judged, classes).to_csv(folder / "cells.csv", index=False)
            summary.append({"source": source, "target": target, "method": method, **judging.figures(judged)})
            beside = judging.changes(judged, (real_cells[source], real_cells[target]), settings.channels)
            changes += [{"source": source, "target": target, **one} for one in beside]
        if not summary:
            raise UserError(
                "Expected cells of the source classes that the model gives to them, found none of them; choose other "
                "classes, or train the model longer"
            )
        pd.DataFrame(summary).to_csv(top / FOLDER / "summary.csv", index=False)
        pd.DataFrame(changes).to_csv(top / FOLDER / "changes.csv", index=False)
    for one in summary:
        key = f"counterfactual/{_folder(str(one['source']), str(one['target']))}"
        tracked.metrics({f"{key}/{name}": value for name, value in one.items() if isinstance(value, float)})
        say(
            f"{one['source']} to {one['target']}: {one['reached']:.0%} of {one['n']} reached the boundary, the judge "
            f"agrees with {one['validity']:.1%} (before the change: {one['already']:.1%})"
        )
    for one in changes:
        say(
            f"{one['source']} to {one['target']}, {one['channel']}, {one['of']}: {one['change']:+.1%} "
            f"[{one['low']:+.1%}, {one['high']:+.1%}]; real cells {one['real']:+.1%} "
            f"[{one['real_low']:+.1%}, {one['real_high']:+.1%}]"
        )
    if caution := intervals.caution(rows.groups):
        say(f"warning: {caution}")


def network(model: Classifier | Ensemble, name: str) -> Classifier:
    """A loaded model as one network of images.

    Raises:
        UserError: an ensemble, or a model of sequences.
    """
    if type(model) is not Classifier:
        raise UserError(
            f"Expected a single network of images, got {name}, which is another kind of model; name another"
        )
    return model


def _draw(judged: Judged, model: Classifier, folder: Path, title: str, channels: Sequence[str]) -> None:
    found, ids = judged.found, [str(name) for name in judged.rows.ids]
    figures.sheet(found, judged.probabilities, model.spec, ids, title=title, names=channels).savefig(
        folder / "sheet.png"
    )
    for n, images in zip(judged.walked, judged.walks, strict=True):
        with torch.no_grad():
            said = model.probabilities(torch.from_numpy(images)).numpy().astype(np.float64)
        figures.walk(images, said, model.spec, ids[n]).savefig(folder / f"walk_{n}.png")
        gif = Gif(2 * len(images) - 2, 6)
        for frame in figures.frames(images, said, model.spec):
            gif.add(frame)
        gif.write(folder / f"walk_{n}.gif")


def _section(model: Classifier, dataset: Dataset, rows: Manifest, pair: tuple[str, str], folder: Path) -> None:
    """The plane between two classes, with the cells of all classes on it."""
    seen = rows.where(np.sort(np.random.default_rng(0).permutation(len(rows))[:ON_PLANE]))
    seen = seen.where(seen.targets >= 0)
    a, b = (model.spec.classes.index(name) for name in pair)
    if not {a, b} <= set(seen.targets.tolist()):
        return
    prepared = torch.cat(list(judging.batches(model, dataset, seen)))
    embeddings = np.concatenate([section.embed(model, part) for part in prepared.split(judging.BATCH)])
    with torch.no_grad():
        generative = isinstance(model.net, Generative)
        shape = latent.generative(model).encode(model.normalise(prepared[:1])).shape[1:] if generative else ()
    through, log_odds = section.plane(embeddings, seen.targets, a, b), section.odds(model, shape, a, b)
    pictures, along = panels.shown(prepared, model.spec), []
    if generative:
        at = through.project(embeddings)
        low, high = np.percentile(at[:, 1], [5, 95])
        heights = np.linspace(low, high, section.BESIDE)
        crossing = section.boundary(log_odds, through, heights, 2 * float(np.abs(at[:, 0]).max()))
        places = np.stack([crossing, heights], axis=1)[np.isfinite(crossing)]
        images = section.decoded(model, through, places, shape) if len(places) else np.empty((0, *prepared.shape[1:]))
        along = figures.seen(images.astype(np.float32), model.spec)
    drawn = section.figure(through, log_odds, embeddings, seen.targets, model.spec.classes, (a, b), pictures, along)
    drawn.savefig(folder / "section.png")


def _of_class(
    model: Classifier, dataset: Dataset, rows: Manifest, name: str, settings: Settings
) -> tuple[Manifest, int]:
    """Some cells of a class that the model gives to it, and how many it does not give to it."""
    mine = rows.where((rows.table["label"] == name).to_numpy())
    if not len(mine):
        return mine, 0
    with torch.no_grad():
        said = torch.cat([model.probabilities(part).argmax(dim=1) for part in judging.batches(model, dataset, mine)])
    right = np.flatnonzero(said.numpy() == model.spec.classes.index(name))
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(right)[: settings.count])
    return mine.where(chosen), len(mine) - len(right)


def _folder(source: str, target: str) -> str:
    return f"{slug(source)}_to_{slug(target)}"

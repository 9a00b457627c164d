"""Versions that differ by the seed alone, summed up: how much of a score is the luck of one training."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from cellml.compare import formats
from cellml.compare.collect import Evaluated
from cellml.compare.scores import FIGURES
from cellml.tracking import runs

SEEDS = ("train.seed", "split.seed")  # the second draws other validation rows: another fold
_SHAPING = ("data.", "split.", "input.", "model.", "sampling.", "sequence.", "train.", runs.KIND)
Settings = Mapping[str, str]
_Shape = frozenset[tuple[str, str]]


def settings(evaluated: Sequence[Evaluated]) -> dict[str, Settings]:
    """What the run behind each entry was trained with, by `Evaluated.name`; empty where its run is gone."""
    trained = {one.name: one.entry.run_id for one in evaluated if one.entry.run_id}
    known = runs.settings(trained.values())
    return {name: known.get(run_id, {}) for name, run_id in trained.items()}


def told_apart(evaluated: Sequence[Evaluated], known: Mapping[str, Settings]) -> list[Evaluated]:
    """The same entries, each with what sets it apart from others of its backbone and strategy but for the seeds.

    Args:
        evaluated: the entries.
        known: of `settings`.
    """
    shapes = {one.name: (one.entry.backbone, one.entry.strategy, _shape(known.get(one.name, {}))) for one in evaluated}
    found = []
    for one in evaluated:
        *kind, shape = shapes[one.name]
        alike = [other for *their, other in shapes.values() if their == kind and other]
        found.append(dataclasses.replace(one, settings=_apart(shape, alike)))
    return found


def table(ranked: pd.DataFrame, known: Mapping[str, Settings], further: Sequence[str] = ()) -> pd.DataFrame:
    """Mean and standard deviation of the scores of each cell: backbone, strategy, and all settings but the seeds.

    Args:
        ranked: of `table.build`.
        known: label of an entry -> its settings by dotted path; entries without are left out.
        further: columns of `ranked` that are summed up beside `FIGURES`.

    Returns:
        A row a cell, best mean balanced accuracy first: `backbone`, `strategy`, `settings` (what sets it apart from
        cells of the same two, else ""), `n`, `versions` and, of the figures, the mean and `<figure>_sd` (of a
        sample, NaN of one). Of versions with the same seeds the newest counts. No rows where no cell has two versions.
    """
    found: dict[tuple[str, str, _Shape], dict[tuple[str, ...], pd.Series]] = {}
    models = ranked[ranked["version"] != ""]
    for _, row in models.sort_values("version", key=lambda version: version.astype(int)).iterrows():
        if given := known.get(formats.label(row)):
            cell = found.setdefault((row["backbone"], row["strategy"], _shape(given)), {})
            cell[tuple(given.get(seed, "") for seed in SEEDS)] = row
    if not any(len(cell) > 1 for cell in found.values()):
        return pd.DataFrame()
    records = []
    for (backbone, strategy, shaping), cell in found.items():
        scores = pd.DataFrame(list(cell.values()))
        alike = [other for b, s, other in found if (b, s) == (backbone, strategy)]
        record: dict[str, object] = {
            "backbone": backbone,
            "strategy": strategy,
            "settings": _apart(shaping, alike),
        }
        record |= {"n": len(scores), "versions": ", ".join(sorted(scores["version"], key=int))}
        for name in (*FIGURES, *further):
            record |= {name: scores[name].astype(float).mean(), f"{name}_sd": scores[name].astype(float).std(ddof=1)}
        records.append(record)
    return pd.DataFrame(records).sort_values("balanced_accuracy", ascending=False, ignore_index=True)


def _shape(given: Settings) -> _Shape:
    """The settings that make a model what it is, but for the seeds and the place of the data."""
    left_out = (*SEEDS, "data.path")
    return frozenset((key, value) for key, value in given.items() if key.startswith(_SHAPING) and key not in left_out)


def _apart(own: _Shape, alike: Iterable[_Shape]) -> str:
    """What only some of the shapes have, of one of them: "sequence.supervision=frames, train.lr=0.1"."""
    return ", ".join(f"{key}={value}" for key, value in sorted(own - own.intersection(*alike)))

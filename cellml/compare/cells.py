"""Versions that differ by the seed alone, summed up: how much of a score is the luck of one training."""

from collections.abc import Mapping, Sequence

import pandas as pd

from cellml.compare import formats
from cellml.compare.collect import Evaluated
from cellml.compare.scores import FIGURES
from cellml.tracking import runs

SEEDS = ("train.seed", "split.seed")  # the second draws other validation rows: another fold
_SHAPING = ("data.", "split.", "input.", "model.", "sampling.", "sequence.", "train.", runs.KIND)
Settings = Mapping[str, str]


def settings(evaluated: Sequence[Evaluated]) -> dict[str, Settings]:
    """What the run behind each entry was trained with, by `Evaluated.name`; empty where its run is gone."""
    return {one.name: runs.settings(one.entry.run_id) for one in evaluated if one.entry.run_id}


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
    found: dict[tuple[str, str, frozenset[tuple[str, str]]], dict[tuple[str, ...], pd.Series]] = {}
    models = ranked[ranked["version"] != ""]
    for _, row in models.sort_values("version", key=lambda version: version.astype(int)).iterrows():
        if given := known.get(formats.label(row)):
            shaping = frozenset(
                (key, value)
                for key, value in given.items()
                if key.startswith(_SHAPING) and key not in (*SEEDS, "data.path")
            )
            cell = found.setdefault((row["backbone"], row["strategy"], shaping), {})
            cell[tuple(given.get(seed, "") for seed in SEEDS)] = row
    if not any(len(cell) > 1 for cell in found.values()):
        return pd.DataFrame()
    records = []
    for (backbone, strategy, shaping), cell in found.items():
        scores = pd.DataFrame(list(cell.values()))
        alike = [other for b, s, other in found if (b, s) == (backbone, strategy)]
        own = sorted(shaping - frozenset.intersection(*alike))
        record: dict[str, object] = {
            "backbone": backbone,
            "strategy": strategy,
            "settings": ", ".join(f"{k}={v}" for k, v in own),
        }
        record |= {"n": len(scores), "versions": ", ".join(sorted(scores["version"], key=int))}
        for name in (*FIGURES, *further):
            record |= {name: scores[name].astype(float).mean(), f"{name}_sd": scores[name].astype(float).std(ddof=1)}
        records.append(record)
    return pd.DataFrame(records).sort_values("balanced_accuracy", ascending=False, ignore_index=True)

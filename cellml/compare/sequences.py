"""Scores over time of models on a test set of sequences: a table of their own beside that of frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cellml.compare import formats
from cellml.compare.collect import Evaluated
from cellml.config import Compare
from cellml.evaluation import intervals, metrics, segments

FRAMES, DECODED = "frames", "decoded"  # each frame's most probable stage; the best way through the grammar
SCORES = ("accuracy", "balanced_accuracy", "f1_macro", *segments.METRICS)
RESAMPLED = ("balanced_accuracy", "edit", "segment_f1_50", "transition_error")  # those that have intervals
SUMMED = ("edit", "segment_f1_50", "transition_error")  # beside the figures of frames, summed up over seeds
_OF_DECODED = ("balanced_accuracy", *SUMMED)


def table(ranking: Sequence[Evaluated], settings: Compare) -> pd.DataFrame:
    """Figures over time of M models, as they say each frame and, where they have a decoder, decoded.

    Args:
        ranking: the models, in the order of the rows; all of the same test rows.
        settings: `resamples` and `seed` make the intervals.

    Returns:
        One or two rows a model: `model`, `version`, `backbone`, `strategy`, `settings`, `reading` (`FRAMES` or
        `DECODED`), `SCORES`, and `<score>_low` and `<score>_high` of `RESAMPLED`, the 95 % interval over resampled
        groups. No rows where the test rows are no frames of sequences.
    """
    read = [
        (one, reading, said)
        for one in ranking
        for reading, said in ((FRAMES, one.predictions), (DECODED, one.decoded))
        if said is not None and said.sequences is not None
    ]
    records = []
    for one, reading, said in read:
        scored, ranges = metrics.compute(said), intervals.bootstrap(said, RESAMPLED, settings.resamples, settings.seed)
        record: dict[str, object] = {
            "model": one.entry.name,
            "version": str(one.entry.version),
            "backbone": one.entry.backbone,
            "strategy": one.entry.strategy,
            "settings": one.settings,
            "reading": reading,
        }
        for name in SCORES:
            record[name] = scored[name]
            if name in RESAMPLED:
                record |= {f"{name}_low": ranges[name].low, f"{name}_high": ranges[name].high}
        records.append(record)
    return pd.DataFrame(records)


def beside(ranked: pd.DataFrame, over_time: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The benchmark's rows with the figures over time that are summed up over seeds.

    Args:
        ranked: of `cellml.compare.table.build`.
        over_time: of `table`.

    Returns:
        `ranked` with `SUMMED` and, where anything is decoded, `decoded_<figure>`, and the names of those columns.
    """
    if over_time.empty:
        return ranked, ()
    keys, parts = ["model", "version"], []
    for reading, figures, prefix in ((FRAMES, SUMMED, ""), (DECODED, _OF_DECODED, f"{DECODED}_")):
        rows = over_time[over_time["reading"] == reading]
        if len(rows):
            parts.append(rows[[*keys, *figures]].rename(columns={name: prefix + name for name in figures}))
    merged = ranked
    for part in parts:
        merged = merged.merge(part, on=keys, how="left")
    return merged, tuple(merged.columns[len(ranked.columns) :])


def section(over_time: pd.DataFrame) -> dict[str, Any]:
    """Head and rows of the page's table; no rows where there are none."""
    heads: Mapping[str, str] = {
        "balanced_accuracy": "balanced accuracy [95 %]",
        "f1_macro": "F1",
        "edit": "edit [95 %]",
        **{f"segment_f1_{percent}": f"segment F1@{percent}" for percent in segments.OVERLAPS},
        "transition_error": "transition error, frames [95 %]",
        "transition_error_found": "of those found",
        "transitions_missed": "missed",
        "transitions_spurious": "spurious",
        "illegal_transitions": "illegal",
    }
    rows = [
        [*formats.titles([row]), row["reading"], *(_text(row, name) for name in heads)]
        for row in over_time.to_dict("records")
    ]
    return {"head": ["model", "reading", *heads.values()], "texts": 2, "rows": rows}


def _text(row: Any, name: str) -> str:
    if name not in RESAMPLED:
        return formats.number(row[name])
    return formats.between(row[name], row[f"{name}_low"], row[f"{name}_high"])

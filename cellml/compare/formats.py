"""The benchmark table as CSV, Markdown and a table for the terminal, and the texts of its cells."""

import html
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from cellml.evaluation.comparisons import TOLD

MAJORITY = "majority class"
DESCRIPTION_LIMIT = 5000  # characters of a registered model's description in MLflow's database
PARAMS, MS, P, NOTE = "params (M)", "ms/image", "p vs best", "note"
_FURTHER = {
    "accuracy_thresholded": "accuracy at thresholds",
    "f1_thresholded": "F1 at thresholds",
    "balanced_accuracy_thresholded": "bal. accuracy at thresholds",
    "rmse": "RMSE",
    "composition_rmse": "composition RMSE",
    "z_prime": "Z'",
    "robust_z_prime": "robust Z'",
}
_ENDS = ("z_prime_low", "z_prime_high")  # shown beside their middle
_NARROW = ("balanced_accuracy_thresholded", "composition_rmse")  # of these, what the short tables show
_FAITHFULNESS = ("deletion", "insertion", "pointing_game")


class Column(NamedTuple):
    """A column of the short tables: its head, whether it holds numbers, and a row's text."""

    name: str
    right: bool
    text: Callable[[Any], str]


def number(value: Any, digits: int = 3) -> str:
    """A number with fixed digits; the empty text for what is missing."""
    return "" if missing(value) else f"{round(float(value), digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.000"


def significance(p: Any) -> str:
    """A p-value to three digits, "<0.001" below; the empty text for what is missing."""
    return "<0.001" if not missing(p) and float(p) < 0.001 else number(p)


def told(row: Any) -> bool:
    """Whether a row can be told from the best one, as far as anything was tested."""
    return missing(row["p_holm"]) or float(row["p_holm"]) < TOLD


def corrected(row: Any) -> str:
    """Corrected p of a row, with a mark where it cannot be told from the best: "0.312 ~"."""
    p = row["p_holm"]
    close = not missing(p) and abs(p - TOLD) < 0.0005  # three digits might contradict the mark
    shown = f"{p:.4f}" if close else significance(p)
    return shown + ("" if told(row) else " ~")


def label(row: Any) -> str:
    """Model and version of a row, as shown: "cells.resnet18 v3"."""
    return f"{row['model']} v{row['version']}" if row["version"] else str(row["model"])


def titles(rows: Sequence[Any]) -> list[str]:
    """Model, version, strategy and settings of rows, as one figure shows them: "resnet18 v3, balanced".

    What several models share is left out: the experiment's name before the backbone's, and the strategy. Baselines keep
    their names.
    """
    models = [row for row in rows if row["version"]]
    experiments = {"".join(row["model"].partition(".")[:2]) for row in models}
    common = experiments.pop() if len(experiments) == 1 and len(models) > 1 else ""
    shared = len(common) if common.endswith(".") else 0
    told = len({row["strategy"] for row in models}) > 1 or len(models) == 1
    found = []
    for row in rows:
        parts = [label(row)[shared if row["version"] else 0 :]]
        if row["version"]:
            parts += [row["strategy"] if told else "", shortened(row["settings"])]
        found.append(", ".join(filter(None, parts)))
    return found


def shortened(settings: str, most: int = 2) -> str:
    """Of settings the last names and values, of several the first ones: "supervision=frames, lr=0.1 and 3 more"."""
    parts = [re.sub(r"^[\w.]*\.", "", part) for part in re.split(r", (?=[\w.]+=)", settings) if part]
    more = len(parts) - most
    return ", ".join(parts[:most]) + (f" and {more} more" if more > 0 else "")


def interval(row: Any, key: str = "balanced_accuracy") -> str:
    """A score of a row with its interval: "0.812 [0.780, 0.842]"."""
    return between(*(row[f"{key}{end}"] for end in ("", "_low", "_high")))


def between(point: float, low: float, high: float) -> str:
    """A score with its interval, where it has one: "0.812 [0.780, 0.842]"."""
    return number(point) + (f" [{number(low)}, {number(high)}]" if number(low) and number(high) else "")


def further(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Key and head of the columns after `identical_to` that hold anything; not of external sets."""
    columns = list(table.columns)
    elsewhere = [f"{name}_{key}" for name, rows in table.attrs["externals"].items() for key in rows[0]]
    shown = [key for key in columns[columns.index("identical_to") + 1 :] if key not in (*elsewhere, *_ENDS)]
    keys = [key for key in shown if table[key].notna().any()]
    of_rarest = {f"recall_{name}_thresholded": f"recall {name} at thresholds" for name in table.attrs["classes"]}
    return [(key, (_FURTHER | of_rarest).get(key, key.replace("_", " "))) for key in keys]


def rank(row: Any) -> str:
    """Rank as text; empty for the baseline."""
    return "" if missing(row["rank"]) else str(int(row["rank"]))


def twins(table: pd.DataFrame) -> dict[str, list[str]]:
    """Letter -> labels of the models that predicted exactly the same."""
    groups: list[list[str]] = []
    for row in table.to_dict("records"):
        if row["identical_to"] and not any(label(row) in group for group in groups):
            groups.append([label(row), *row["identical_to"].split(", ")])
    return {chr(ord("a") + i) if i < 26 else str(i): group for i, group in enumerate(groups)}


def note(row: Any, table: pd.DataFrame) -> str:
    """What a reader must know about a row beside its figures; mostly empty."""
    said = [f"identical ({letter})" for letter, group in twins(table).items() if label(row) in group]
    only = constant(row, table)
    if only is not None and rank(row):
        said.append(f"always {only}")
    said += filter(None, [shortened(row["settings"])])
    return ", ".join(said)


def constant(row: Any, table: pd.DataFrame) -> str | None:
    """The class that a model gave to every image of all classes present, or None."""
    recalls = {name: row[f"recall_{name}"] for name in table.attrs.get("classes", ())}
    recalls = {name: float(value) for name, value in recalls.items() if not missing(value)}
    if len(recalls) < 2 or sorted(recalls.values())[-2] > 0:
        return None
    return next((name for name, value in recalls.items() if value == 1), None)


def missing(value: Any) -> bool:
    """Whether a cell of the table holds nothing."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write every column at full precision; missing values are empty cells."""
    table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def to_markdown(table: pd.DataFrame, limit: int | None = None) -> str:
    """The table's main columns for a README or an MLflow description.

    Args:
        table: what `table.build` made.
        limit: most characters of the result (`DESCRIPTION_LIMIT` of a description); rows that do not fit are counted in
            a line under the table, the baseline stays.
    """
    records = table.to_dict("records")
    columns = short(table)
    rows = [[_markdown(column.text(row)) for column in columns] for row in records]
    baseline = rows[-1:] if records and is_baseline(records[-1]) else []
    models = rows[: len(rows) - len(baseline)]
    kept = len(models)
    text = _page(table, columns, models, baseline, 0)
    while limit is not None and len(text) > limit and kept:
        kept -= 1
        text = _page(table, columns, models[:kept], baseline, len(models) - kept)
    return text


def render(table: pd.DataFrame) -> Table:
    """The table's main columns, fit for 80 characters; long model names are folded, numbers never."""
    said = escape("\n".join(remarks(table)[:-1]))
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=said, caption_justify="left", padding=(0, 1, 0, 0))
    records = table.to_dict("records")
    left_out = {
        PARAMS,
        MS,
        P,
        *(head for name in table.attrs["externals"] for head in (*_heads(name), "AUROC", "F1")),
        *_FURTHER.values(),
        *(head for key, head in further(table) if key in _first_explained(table)),
    }
    columns = [column for column in short(table) if column.name not in left_out]
    for name in table.attrs["externals"]:
        place = len(columns) - (columns[-1].name == NOTE)
        columns.insert(place, Column(f"{name} bal. acc.", True, partial(_cell, f"{name}_balanced_accuracy")))
    for column in columns:
        longest = max(len(column.text(row)) for row in records)
        widest = max([8, *(min(len(name), 12) for name in table.attrs["externals"] if column.name.startswith(name))])
        if column.right:
            shown.add_column(
                escape(column.name), justify="right", min_width=longest, max_width=max(longest, widest), overflow="fold"
            )
        else:
            shown.add_column(escape(column.name), overflow="fold", no_wrap=column.name == "strategy")
    for row in records:
        style = "bold" if rank(row) == "1" else "dim" if is_baseline(row) else None
        shown.add_row(*(escape(column.text(row)) for column in columns), style=style)
    return shown


def short(table: pd.DataFrame) -> list[Column]:
    """The columns of the short tables."""
    columns = [
        Column("#", True, rank),
        Column("model", False, label),
        Column("strategy", False, lambda row: str(row["strategy"])),
        Column(PARAMS, True, lambda row: number(row["params_m"], 2)),
        Column("bal. accuracy [95 %]", True, interval),
        Column("AUROC", True, lambda row: number(row["auroc"])),
        Column("F1", True, lambda row: number(row["f1"])),
    ]
    rarest = table.attrs.get("rarest")
    if rarest is not None:
        columns.append(Column(f"recall {rarest}", True, lambda row: number(row[f"recall_{rarest}"])))
    columns.append(Column(P, True, lambda row: significance(row["p_vs_best"])))
    columns.append(Column("p Holm", True, corrected))
    for name in table.attrs["externals"]:
        score, area = _heads(name)
        columns.append(Column(score, True, partial(interval, key=f"{name}_balanced_accuracy")))
        columns.append(Column(area, True, partial(_cell, f"{name}_auroc")))
    columns.append(Column(MS, True, lambda row: number(row["ms_batch_1"], 1)))
    if "z_prime" in table:
        columns.append(Column("Z' [95 %]", True, partial(interval, key="z_prime")))
    shown = [*_NARROW, *_first_explained(table)]
    columns += [Column(head, True, partial(_cell, key)) for key, head in further(table) if key in shown]
    if any(note(row, table) for row in table.to_dict("records")):
        columns.append(Column(NOTE, False, lambda row: note(row, table)))
    return columns


def _first_explained(table: pd.DataFrame) -> list[str]:
    """Of the scores of heatmaps, what the short tables show: the first method's main figures."""
    names = table.attrs.get("explained", [])
    method = next((name.removesuffix("_deletion") for name in names if name.endswith("_deletion")), None)
    return [f"{method}_{figure}" for figure in _FAITHFULNESS if f"{method}_{figure}" in names]


def _heads(name: str) -> tuple[str, str]:
    """Heads of an external set's columns in the short tables."""
    return f"{name} bal. accuracy [95 %]", f"{name} AUROC"


def _cell(key: str, row: Any) -> str:
    return number(row[key])


def remarks(table: pd.DataFrame) -> list[str]:
    """The lines under the short tables."""
    first = table.iloc[0]
    ranked = str(table.attrs.get("metric", "balanced_accuracy")).replace("_", " ")
    lines = [
        f"{first['n']} test {table.attrs.get('unit', 'image')}s, digest {first['test_digest']}, ranked by {ranked}."
    ]
    lines += [f"({letter}) identical predictions: {', '.join(group)}." for letter, group in twins(table).items()]
    lines += _experts(table)
    lines += filter(None, [controls(table)])
    if not all(told(row) for row in table.to_dict("records")):
        lines.append(f"~ cannot be told from the best: p Holm, corrected for how many models, is {TOLD} or more.")
    for name, rows in table.attrs["externals"].items():
        lines.append(f"{name}: {rows[0]['n']} test images from elsewhere, digest {rows[0]['digest']}.")
    over = "groups" if table.attrs.get("grouped", True) else "images"
    lines.append(f"Intervals: 95 % bootstrap over {over}. p vs best: paired on the same resamples, not corrected.")
    return lines


def controls(table: pd.DataFrame) -> str:
    """What Z' is of, as a sentence; "" where no controls are named."""
    positive, negative = table.attrs.get("controls") or ("", "")
    if not positive:
        return ""
    return (
        f"Z' (Zhang 1999) and robust Z' (medians) are of single images of {positive} and {negative} by "
        f"log p({positive}) - log p({negative})."
    )


def _experts(table: pd.DataFrame) -> Iterator[str]:
    """How well experts agree, for the reader to compare with."""
    for truth, words in (("others", "the majority of the others"), ("all", "the majority, their own vote counted")):
        found = [f"{one.expert} {between(*one[3:])}" for one in table.attrs["experts"] if one.truth == truth]
        if found:
            yield f"Experts' balanced accuracy against {words}: {', '.join(found)}."


def _page(
    table: pd.DataFrame, columns: list[Column], models: list[list[str]], baseline: list[list[str]], left: int
) -> str:
    rows = [
        [_markdown(column.name) for column in columns],
        ["---:" if column.right else "---" for column in columns],
        *models,
        *baseline,
    ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    more = [f"{left} more models stand in table.csv."] if left else []
    return "\n".join([*lines, "", "  \n".join([*more, *map(_markdown, remarks(table))]), ""])


def _markdown(text: str) -> str:
    plain = html.escape(text.replace("\n", " "), quote=False)
    return re.sub(r"([\\`*|~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", plain)  # an underscore inside a word is plain


def is_baseline(row: Any) -> bool:
    """Whether a row is the one that knows only the training rows' frequencies."""
    return bool(row["model"] == MAJORITY and missing(row["rank"]))

"""The benchmark's HTML page: what it says, in the words and cells that `report.html.j2` lays out."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import jinja2
import pandas as pd

from cellml import __version__
from cellml.compare import formats
from cellml.compare.collect import Evaluated
from cellml.config import Compare
from cellml.data.manifest import Manifest

DPI = 160  # of the figures as PNG
FEW_GROUPS = 10  # fewer groups than this make a bootstrap interval too narrow
_HEADS = {
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "f1": "F1",
    "mcc": "MCC",
    "accuracy": "accuracy",
    "precision": "precision",
    "loss": "log-loss",
}


class Fact(NamedTuple):
    """A term and its value at the page's top."""

    name: str
    value: str
    detail: str = ""
    code: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure of the benchmark: its kind, file stem, the model it is of ("" of all) and its PNG."""

    kind: Literal["bars", "roc", "confusion", "heatmaps"]
    stem: str
    name: str
    png: bytes

    @property
    def width(self) -> int:
        """Width in CSS pixels, 96 an inch, from the PNG's header."""
        return round(int.from_bytes(self.png[16:20]) * 96 / DPI)

    @property
    def src(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def html(
    *,
    name: str,
    table: pd.DataFrame,
    ranking: Sequence[Evaluated],
    test: Manifest,
    settings: Compare,
    pictures: Sequence[Picture],
    train_counts: Mapping[str, int],
    description: str,
    ui: str | None,
) -> str:
    """Render the page; `report.Benchmark` says what the arguments are, `ranking` is best first."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cellml", "compare"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    columns = _columns(table, test.classes)
    records: list[Any] = table.to_dict("records")
    rows = [
        {
            "best": formats.rank(row) == "1",
            "ranked": bool(formats.rank(row)),
            "cells": list(_cells(row, table, columns, ui)),
        }
        for row in records
    ]
    one = {picture.kind: picture for picture in pictures if not picture.name}
    return environment.get_template("report.html.j2").render(
        name=name,
        description=description,
        lead=_lead(records, settings),
        facts=_facts(test, settings, ranking),
        warnings=list(_warnings(table, ranking, test)),
        columns=columns,
        rows=[row for row in rows if row["ranked"]],
        baseline=[row for row in rows if not row["ranked"]],
        bars=one["bars"],
        roc=one["roc"],
        confusions=[picture for picture in pictures if picture.kind == "confusion"],
        strips=[picture for picture in pictures if picture.kind == "heatmaps"],
        two=len(test.classes) == 2,
        tile=f"{9 + 3 * max(len(test.classes), 3)}rem",
        counts=[{"name": c, "test": n, "train": train_counts.get(c, "")} for c, n in test.counts.items()],
        notes=_notes(settings, ranking, test),
        version=__version__,
    )


def _columns(table: pd.DataFrame, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Keys of the table's columns with their heads; `text` ones are aligned left."""
    columns = [("rank", "#", False), ("model", "model", True), ("strategy", "strategy", True)]
    columns += [(key, head, False) for key, head in _HEADS.items() if key == "balanced_accuracy"]
    columns += [("p_vs_best", "p vs best", False)]
    columns += [(key, head, False) for key, head in _HEADS.items() if key != "balanced_accuracy"]
    columns += [(f"recall_{name}", f"recall {name}", False) for name in classes]
    columns += [(key, head, False) for key, head in formats.further(table)]
    columns += [("params_m", "params (M)", False), ("ms_per_image", "ms/image", False), ("run_id", "run", True)]
    return [{"key": key, "name": head, "text": text} for key, head, text in columns]


def _cells(
    row: dict[str, Any], table: pd.DataFrame, columns: list[dict[str, Any]], ui: str | None
) -> Iterator[dict[str, Any]]:
    ui = (ui or "").rstrip("/")
    for column in columns:
        key, value = column["key"], row[column["key"]]
        cell = {"text": "", "value": "", "detail": "", "href": "", "header": key == "model", "left": column["text"]}
        if key == "model":
            cell |= {"text": formats.label(row), "value": formats.label(row)}
            cell["detail"] = ", ".join(text for text in (str(row["backbone"]), formats.note(row, table)) if text)
            if ui and row["version"]:
                cell["href"] = f"{ui}/#/models/{quote(row['model'], safe='')}/versions/{quote(str(row['version']))}"
        elif key == "run_id":
            cell |= {"text": str(value)[:8], "value": str(value)}
            cell["href"] = f"{ui}/#/runs/{quote(str(value))}" if ui and value else ""
        elif key == "rank":
            cell |= {"text": formats.rank(row), "value": formats.rank(row)}
        elif key == "p_vs_best":
            cell |= {"text": formats.significance(value), "value": formats.number(value, 6)}
        elif isinstance(value, str):
            cell |= {"text": value, "value": value}
        else:
            cell |= {"text": formats.number(value, 2 if key in ("params_m", "ms_per_image") else 3)}
            cell["value"] = formats.number(value, 9)
            if key == "balanced_accuracy":
                cell["detail"] = formats.interval(row).removeprefix(cell["text"]).strip()
        yield cell


def _lead(records: list[dict[str, Any]], settings: Compare) -> str:
    ranked = [row for row in records if formats.rank(row)]
    text = f"{formats.label(ranked[0])} has the best {_spoken(settings.metric)}"
    text += "" if settings.metric == "balanced_accuracy" else " and a balanced accuracy of"
    text += (
        f", {formats.interval(ranked[0])}"
        if settings.metric == "balanced_accuracy"
        else f" {formats.interval(ranked[0])}"
    )
    text += f"; always answering the commonest class gives {formats.number(records[-1]['balanced_accuracy'])}."
    others = [row["p_vs_best"] for row in ranked[1:]]
    alike = sum(not p < 0.05 for p in others)
    if others:
        rest = "The other model" if len(others) == 1 else f"{alike or 'All'} of the {len(others)} other models"
        text += f" {rest} {'cannot' if alike else 'can'} be told from it at p < 0.05."
    return text


def _facts(test: Manifest, settings: Compare, ranking: Sequence[Evaluated]) -> list[Fact]:
    groups = len(set(test.groups))
    grouped, mixed = groups < len(test), int(test.mixed.sum())
    return [
        Fact(
            "Test images", f"{len(test):,}", f"{mixed:,} of mixtures, of no known class" if mixed else "for every model"
        ),
        Fact("Classes", str(len(test.classes))),
        Fact("Groups", f"{groups:,}" if grouped else "none", "never split" if grouped else "each image by itself"),
        Fact("Models", str(len(ranking))),
        Fact("Ranked by", _spoken(settings.metric)),
        Fact("Digest of the test rows", test.digest, code=True),
    ]


def _warnings(table: pd.DataFrame, ranking: Sequence[Evaluated], test: Manifest) -> Iterator[str]:
    for letter, group in formats.twins(table).items():
        yield (
            f"({letter}) Identical predictions: {', '.join(group)}. One model under several names, or models that "
            "ignore their input?"
        )
    for row in table.to_dict("records"):
        only = formats.constant(row, table)
        if formats.rank(row) and only is not None:
            yield f"{formats.label(row)} gives every test image to {only}, as the baseline does to the commonest class."
    said: dict[str, list[str]] = {}
    for one in ranking:
        for warning in one.warnings:
            said.setdefault(warning, []).append(one.name)
    for warning, names in said.items():
        yield f"{'All models' if len(names) == len(ranking) > 1 else ', '.join(names)}: {warning}."
    empty = [name for name, count in test.counts.items() if not count]
    if empty:
        yield f"No test image of class {', '.join(empty)}: its recall is unknown, and the means leave it out."
    groups = len(set(test.groups))
    if groups < FEW_GROUPS:
        yield f"Only {groups} groups among the test images: the intervals are too narrow, and p too small."


def _notes(settings: Compare, ranking: Sequence[Evaluated], test: Manifest) -> list[str]:
    grouped = len(set(test.groups)) < len(test)
    unit = "groups, each drawn whole," if grouped else "images"
    return [
        "Every model is the registered one, loaded from the registry and run anew on the pinned test rows; nothing is "
        "copied from training runs. Which version stands for a model was chosen on validation rows.",
        f"Intervals are 95 % percentile intervals of a bootstrap over {unit} ({settings.resamples:,} resamples, seed "
        f"{settings.seed}).",
        f"p vs best is the two-sided bootstrap p of the difference in {_spoken(settings.metric)} to the first row: "
        "paired, both models being scored on the same resamples. It is not corrected for the number of models, and the "
        "best row was picked on these same images, so small differences deserve distrust.",
        "Precision, F1 and AUROC (one class against the rest) are means over the classes with equal weight; the mean "
        "recall is the balanced accuracy.",
        "Columns at thresholds score the class that a model's operating thresholds say, which its validation rows set "
        "for balanced accuracy; all others score the most probable class.",
        "The last row is a baseline that always answers the commonest class; a model that does not beat it has learned "
        "nothing. The dashed line in the bar plot is its balanced accuracy.",
        "Models marked identical, with the same letter, gave the same probabilities to six decimals on every image.",
        f"ms/image is the median over calls of up to {max((one.batch for one in ranking), default=1)} images, after a "
        "warm-up, reading from disk not counted; compare it within this table only.",
    ]


def _spoken(metric: str) -> str:
    return _HEADS.get(metric, metric.replace("_", " "))

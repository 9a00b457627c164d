"""The benchmark's HTML page: what it says, in the words and cells that `report.html.j2` lays out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from cellml import __version__
from cellml.compare import against, formats, sections, sequences, words
from cellml.compare.collect import Evaluated
from cellml.compare.picture import Picture
from cellml.config import Compare
from cellml.data.external import External
from cellml.data.manifest import Manifest

DIGITS = {"params_m": 2, "ms_batch_1": 1, "ms_batch_64": 1, "mb_batch_1": 0, "mb_batch_64": 0}  # of a table's cell; 3
TRUTHS = {"others": "the majority of the others", "all": "the majority of all"}


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
    cells: pd.DataFrame,
    members: pd.DataFrame,
    over_time: pd.DataFrame,
    externals: Sequence[External],
    device: str,
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
        lead=words.lead(records, settings),
        facts=words.facts(test, settings, ranking),
        warnings=list(words.warnings(table, ranking, test)),
        columns=columns,
        rows=[row for row in rows if row["ranked"]],
        baseline=[row for row in rows if not row["ranked"]],
        bars=one["bars"],
        roc=one["roc"],
        ranks=one.get("ranks"),
        pareto=one.get("pareto"),
        device=device,
        sets=one.get("sets"),
        caption=sections.of_ranks(table),
        externals=sections.of_externals(table, ranking, externals, pictures),
        experts=_experts(table),
        cells=_summary(
            cells, [name for name in ("backbone", "strategy", "settings") if name in cells and any(cells[name])]
        ),
        members=_summary(members, ["model", "version", "set"]),
        over_time=sequences.section(over_time),
        confusions=[picture for picture in pictures if picture.kind == "confusion"],
        strips=[picture for picture in pictures if picture.kind == "heatmaps"],
        two=len(test.classes) == 2,
        tile=f"{9 + 3 * max(len(test.classes), 3)}rem",
        counts=[{"name": c, "test": n, "train": train_counts.get(c, "")} for c, n in test.counts.items()],
        notes=words.notes(settings, test, table, device),
        version=__version__,
    )


def _columns(table: pd.DataFrame, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Keys of the table's columns with their heads; `text` ones are aligned left."""
    columns = [("rank", "#", False), ("model", "model", True), ("strategy", "strategy", True)]
    columns += [(key, head, False) for key, head in words.HEADS.items() if key == "balanced_accuracy"]
    compared = [
        ("p_vs_best", "p vs best"),
        ("p_holm", "p Holm"),
        ("rank_1", "P(best)"),
        ("expected_rank", "expected rank"),
    ]
    columns += [(key, head, False) for key, head in compared]
    further = formats.further(table)
    columns += [(key, head, False) for key, head in further if key == "z_prime"]
    columns += [(key, head, False) for key, head in words.HEADS.items() if key != "balanced_accuracy"]
    columns += [(f"recall_{name}", f"recall {name}", False) for name in classes]
    columns += [(key, head, False) for key, head in further if key != "z_prime"]
    columns += [(key, head, False) for key, head in against.IGNORING.items() if table[key].notna().any()]
    columns += [(f"{name}_balanced_accuracy", f"{name} balanced accuracy", False) for name in table.attrs["externals"]]
    columns += [(key, head, False) for key, head in words.COSTS.items()]
    columns += [("run_id", "run", True)]
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
        elif key.startswith("p_"):
            text = formats.corrected(row) if key == "p_holm" else formats.significance(value)
            cell |= {"text": text, "value": formats.number(value, 6)}
        elif isinstance(value, str):
            cell |= {"text": value, "value": value}
        else:
            cell |= {"text": formats.number(value, DIGITS.get(key, 3)), "value": formats.number(value, 9)}
            if key.endswith("balanced_accuracy") or key == "z_prime":
                cell["detail"] = formats.interval(row, key).removeprefix(cell["text"]).strip()
        yield cell


def _experts(table: pd.DataFrame) -> list[dict[str, str]]:
    found = table.attrs["experts"]
    return [
        {"name": one.expert, "against": TRUTHS[one.truth], "n": one.n, "text": formats.between(*one[3:])}
        for one in found
    ]


def _summary(cells: pd.DataFrame, texts: list[str]) -> dict[str, Any]:
    """Head and rows of a table of means and deviations, `texts` its columns of words."""
    figures = [key for key in cells if f"{key}_sd" in cells]
    rows = [
        [*(row[key] for key in texts), row["n"], *(_spread(row[key], row[f"{key}_sd"]) for key in figures)]
        for row in cells.to_dict("records")
    ]
    return {"head": [*texts, "n", *(words.spoken(str(key)) for key in figures)], "texts": len(texts), "rows": rows}


def _spread(mean: float, deviation: float) -> str:
    return formats.number(mean) + ("" if formats.missing(deviation) else f" ± {formats.number(deviation)}")

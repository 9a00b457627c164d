"""The benchmark's folder: tables, figures and one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from cellml.compare import figures, formats, latex, page, pareto, rank_figure, sections
from cellml.compare.collect import Evaluated
from cellml.compare.picture import Picture, png
from cellml.compare.table import ordered
from cellml.config import Compare
from cellml.data.external import External
from cellml.data.manifest import Manifest


@dataclass(frozen=True)
class Benchmark:
    """All that a benchmark's files say.

    Attributes:
        name: the experiment's name, the page's title.
        table: what `table.build` made of the rest.
        evaluated: the models with their predictions, in any order.
        test: the pinned test rows.
        settings: what ranked.
        train_counts: class name -> training images; empty where unknown.
        description: a sentence under the title.
        heatmaps: `Evaluated.name` -> one strip of heatmaps, as PNG or figure.
        cells: of `cells.table`; empty where no version is repeated.
        members: of `members.table`; empty where there is no ensemble.
        sequences: of `sequences.table`; empty where the test rows are no frames of sequences.
        externals: further test sets, which the table holds columns of.
        device: where costs were measured.
        ui: address of MLflow's pages ("http://127.0.0.1:5000"), for links to runs and models.
    """

    name: str
    table: pd.DataFrame
    evaluated: Sequence[Evaluated]
    test: Manifest
    settings: Compare = field(default_factory=Compare)
    train_counts: Mapping[str, int] = field(default_factory=dict)
    description: str = ""
    heatmaps: Mapping[str, bytes | Figure] = field(default_factory=dict)
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)
    members: pd.DataFrame = field(default_factory=pd.DataFrame)
    sequences: pd.DataFrame = field(default_factory=pd.DataFrame)
    externals: Sequence[External] = ()
    device: str = ""
    ui: str | None = None


def write(folder: str | Path, benchmark: Benchmark) -> list[Path]:
    """Write `table.csv`, `table.md`, `table.tex`, `report.html`, `figures/*.png`, and what there is of further tables.

    `cells.csv` sums up versions that differ by the seed alone, `members.csv` the networks of ensembles;
    `sequences.csv` holds figures over time, `experts.csv` says how well experts agree; each external set has a table by
    its name.

    Args:
        folder: made where missing; its `figures` are replaced.
        benchmark: what to write.

    Returns:
        The files written, tables first.

    Raises:
        ValueError: a heatmap of a model that is not in the benchmark.
    """
    folder = Path(folder)
    shown = pictures(benchmark)
    paths = [folder / "table.csv", folder / "table.md", folder / "table.tex", folder / "report.html"]
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for old in (folder / "figures").glob("*.png"):
        old.unlink()
    formats.write_csv(benchmark.table, paths[0])
    paths[1].write_text(formats.to_markdown(benchmark.table), encoding="utf-8")
    paths[2].write_text(latex.render(benchmark.table), encoding="utf-8")
    paths[3].write_text(html(benchmark, shown), encoding="utf-8")
    beside = {
        "cells": benchmark.cells,
        "members": benchmark.members,
        "sequences": benchmark.sequences,
        "experts": pd.DataFrame(benchmark.table.attrs["experts"]),
    }
    beside |= {one.name: sections.csv(benchmark.table, one.name) for one in benchmark.externals}
    for name, further in beside.items():
        if len(further):
            paths.append(folder / f"{name}.csv")
            formats.write_csv(further, paths[-1])
    for picture in shown:
        paths.append(folder / "figures" / f"{picture.stem}.png")
        paths[-1].write_bytes(picture.png)
    return paths


def html(benchmark: Benchmark, shown: Sequence[Picture] | None = None) -> str:
    """The page of a benchmark: no file beside it, no address outside it but links to MLflow's pages."""
    ranking = ordered(benchmark.evaluated, benchmark.settings)
    return page.html(
        name=benchmark.name,
        table=benchmark.table,
        ranking=ranking,
        test=benchmark.test,
        settings=benchmark.settings,
        pictures=pictures(benchmark) if shown is None else shown,
        train_counts=benchmark.train_counts,
        description=benchmark.description,
        ui=benchmark.ui,
        cells=benchmark.cells,
        members=benchmark.members,
        over_time=benchmark.sequences,
        externals=benchmark.externals,
        device=benchmark.device,
    )


def pictures(benchmark: Benchmark) -> list[Picture]:
    """Every figure of a benchmark as PNG: bars, ROC curves, cost and, of several models, ranks; then those of models.

    Each model has a confusion matrix and, where there is one, a strip of heatmaps; each external set the confusion
    matrix of the first model.

    Raises:
        ValueError: a heatmap of a model that is not in the benchmark.
    """
    ranking = ordered(benchmark.evaluated, benchmark.settings)
    unknown = set(benchmark.heatmaps) - {one.name for one in ranking}
    if unknown:
        raise ValueError(f"heatmaps of models that are not in the benchmark: {sorted(unknown)}")
    names = formats.titles(
        [
            {
                "model": one.entry.name,
                "version": one.entry.version,
                "strategy": one.entry.strategy,
                "settings": one.settings,
            }
            for one in ranking
        ]
    )
    made = [
        Picture("bars", "balanced_accuracy", "", png(figures.bars(benchmark.table))),
        Picture("roc", "roc", "", png(figures.roc([one.predictions for one in ranking], names))),
    ]
    if len(ranking) > 1:
        drawn = figures.rank_probabilities(benchmark.table)
        made.append(Picture("ranks", "rank_probabilities", "", png(drawn)))
    if benchmark.table["ms_batch_1"].notna().any():
        made.append(Picture("pareto", "cost", "", png(pareto.draw(benchmark.table))))
    if benchmark.table.attrs["sets"] is not None:
        made.append(Picture("sets", "average_ranks", "", png(rank_figure.draw(benchmark.table))))
    for external in benchmark.externals:
        figure = figures.confusion(ranking[0].external[external.name], f"{ranking[0].title}, {external.name}")
        made.append(Picture("external", f"external_{external.name}", external.name, png(figure)))
    for place, one in enumerate(ranking, start=1):
        stem = f"{place:02d}_{one.entry.name[:80]}_v{one.entry.version}"
        figure = figures.confusion(one.predictions, one.title)
        made.append(Picture("confusion", f"confusion_{stem}", one.name, png(figure)))
        if one.name in benchmark.heatmaps:
            strip = benchmark.heatmaps[one.name]
            made.append(
                Picture("heatmaps", f"heatmaps_{stem}", one.name, strip if isinstance(strip, bytes) else png(strip))
            )
    return made

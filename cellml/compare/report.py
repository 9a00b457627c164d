"""The benchmark's folder: tables, figures and one self-contained HTML page."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from cellml.compare import figures, formats, page
from cellml.compare.collect import Evaluated
from cellml.compare.table import ordered
from cellml.config import Compare
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
    ui: str | None = None


def write(folder: str | Path, benchmark: Benchmark) -> list[Path]:
    """Write `table.csv`, `table.md`, `table.tex`, `report.html`, `figures/*.png`, and what there is of further tables.

    `cells.csv` sums up versions that differ by the seed alone; `experts.csv` says how well experts agree.

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
    paths[2].write_text(formats.to_latex(benchmark.table), encoding="utf-8")
    paths[3].write_text(html(benchmark, shown), encoding="utf-8")
    for name, further in (("cells", benchmark.cells), ("experts", pd.DataFrame(benchmark.table.attrs["experts"]))):
        if len(further):
            paths.append(folder / f"{name}.csv")
            formats.write_csv(further, paths[-1])
    for picture in shown:
        paths.append(folder / "figures" / f"{picture.stem}.png")
        paths[-1].write_bytes(picture.png)
    return paths


def html(benchmark: Benchmark, shown: Sequence[page.Picture] | None = None) -> str:
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
    )


def pictures(benchmark: Benchmark) -> list[page.Picture]:
    """Every figure of a benchmark as PNG: bars, ROC curves and, of several models, rank probabilities; then theirs.

    Each model has a confusion matrix and, where there is one, a strip of heatmaps.

    Raises:
        ValueError: a heatmap of a model that is not in the benchmark.
    """
    ranking = ordered(benchmark.evaluated, benchmark.settings)
    unknown = set(benchmark.heatmaps) - {one.name for one in ranking}
    if unknown:
        raise ValueError(f"heatmaps of models that are not in the benchmark: {sorted(unknown)}")
    names = [one.title for one in ranking]
    made = [
        page.Picture("bars", "balanced_accuracy", "", _png(figures.bars(benchmark.table))),
        page.Picture("roc", "roc", "", _png(figures.roc([one.predictions for one in ranking], names))),
    ]
    if len(ranking) > 1:
        drawn = figures.rank_probabilities(benchmark.table)
        made.append(page.Picture("ranks", "rank_probabilities", "", _png(drawn)))
    for place, one in enumerate(ranking, start=1):
        stem = f"{place:02d}_{one.entry.name[:80]}_v{one.entry.version}"
        figure = figures.confusion(one.predictions, one.title)
        made.append(page.Picture("confusion", f"confusion_{stem}", one.name, _png(figure)))
        if one.name in benchmark.heatmaps:
            strip = benchmark.heatmaps[one.name]
            made.append(
                page.Picture(
                    "heatmaps", f"heatmaps_{stem}", one.name, strip if isinstance(strip, bytes) else _png(strip)
                )
            )
    return made


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=page.DPI)
    return buffer.getvalue()

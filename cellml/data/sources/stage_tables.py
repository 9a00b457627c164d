"""Tables of stages: rows of labelled frames, rows of sequences with their stages in order, or some of both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cellml.config import Data
from cellml.data.manifest import ARROW
from cellml.data.sources import columns, labels
from cellml.data.sources.cells import Cell, Stages
from cellml.errors import UserError, near


@dataclass(frozen=True)
class Names:
    """Columns of the table, and the number of a sequence's first frame in it."""

    sequence: str = "sequence"
    frame: str = "frame"
    transcript: str = "transcript"
    label: str = "label"
    first: int = 0


def read(
    path: Path, cells: list[Cell], names: Names, data: Data
) -> tuple[dict[str, Stages], dict[str, str], pd.DataFrame]:
    """Stages of cells from a table.

    Args:
        path: the table.
        cells: those that there are; the table names them by folder, or its last part where that is unique.
        names: its columns.
        data: data.classes lists the stages.

    Returns:
        Cell -> stages of its frames; cell -> its classes in order, "a>b>c"; and the table's columns, of each cell's
        first row.

    Raises:
        UserError: a column or cell that is not there, a frame twice or outside its sequence, an unknown stage, or a
            transcript with more stages than frames; names the line.
    """
    raw, where = columns.read(path), path.name
    named = columns.column(raw, names.sequence, where, "data.options.sequence")
    cell_of = _cells(named, cells, where)
    more = raw.assign(cell=[cell.name for cell in cell_of]).drop_duplicates("cell").set_index("cell")
    transcripts: dict[str, str] = {}
    if names.transcript in raw:
        for row, (cell, text) in enumerate(zip(cell_of, raw[names.transcript], strict=True)):
            if text:
                transcripts[cell.name] = _transcript(text, cell, data, f"{where}, line {row + 2}")
    if names.label not in raw and transcripts:
        return {}, transcripts, more
    texts = columns.column(raw, names.label, where, "data.label")
    numbers = pd.to_numeric(columns.column(raw, names.frame, where, "data.options.frame"), errors="coerce")
    known: dict[str, Stages] = {}
    for row, (cell, text, number) in enumerate(zip(cell_of, texts, numbers, strict=True)):
        place = f"{where}, line {row + 2}"
        if cell.name in transcripts and not text and not raw[names.frame][row]:
            continue  # a row of a transcript among those of frames
        if not np.isfinite(number) or number != int(number):
            raise UserError(f"Expected the number of a frame in {place}, got {raw[names.frame][row]!r}; correct it")
        at = int(number) - names.first
        if not 0 <= at < cell.length:
            raise UserError(
                f"Expected labels of the frames {names.first} to {names.first + cell.length - 1} of {cell.name}, got "
                f"frame {int(number)} in {place}; correct it, or set data.options.first"
            )
        if cell.name not in known:
            known[cell.name] = Stages([""] * cell.length, [""] * cell.length)
        stages = known[cell.name]
        if stages.lines[at]:
            raise UserError(f"Expected each frame of {cell.name} once, got frame {int(number)} again in {place}")
        stages.values[at], stages.lines[at] = text, f"line {row + 2}"
    return known, transcripts, more


def _cells(named: pd.Series, cells: list[Cell], where: str) -> list[Cell]:
    by_name = {cell.name: cell for cell in cells}
    folders = [cell.folder for cell in cells]
    by_folder = {cell.folder: cell for cell in cells if folders.count(cell.folder) == 1}
    found = []
    for row, name in enumerate(named):
        cell = by_name.get(name.strip("/")) or by_folder.get(name)
        if cell is None:
            raise UserError(
                f"Expected the folder of a cell in {where}, line {row + 2}, got {name!r}: {near(name, by_name)}"
            )
        found.append(cell)
    return found


def _transcript(text: str, cell: Cell, data: Data, place: str) -> str:
    """Class names in order, no two alike beside each other."""
    parts = [part.strip() for part in text.split(ARROW)]
    if "" in parts:
        raise UserError(f"Expected stages in order, a{ARROW}b{ARROW}c, in {place}, got {text!r}; correct it")
    where, _, line = place.partition(", ")
    names = labels.of_frames(np.array(parts, dtype=object), data, where, [line] * len(parts)).names
    names = np.array([name for n, name in enumerate(names) if name and (n == 0 or name != names[n - 1])])
    if any(ARROW in name for name in names):
        raise UserError(f"Expected class names without {ARROW!r} where there are transcripts, got {list(names)}")
    if len(names) > cell.length:
        raise UserError(
            f"Expected at most {cell.length} stages in the transcript of {cell.name}, which has as many frames, got "
            f"{len(names)} in {place}; correct it"
        )
    return ARROW.join(names)

"""Stage files beside cells: `<cell>_Synchronization.csv` of LiveCellMiner, `<cell>_ManualStages.txt` of Zhong et al.

Each holds the number of the stage of every frame, from 1 on, on one line (separated by commas, semicolons, blanks or
tabs) or one a line. A file named after the folder above holds a line a cell, in natural order of the cells' folders.
"""

import re
from pathlib import Path

from cellml.data.sources.cells import Cell, Stages
from cellml.errors import UserError

KINDS = {
    "Synchronization.csv": ("interphase", "early mitosis", "late mitosis"),  # late: from the parting of the plates on
    "ManualStages.txt": ("interphase", "prophase", "prometaphase", "metaphase", "anaphase", "telophase"),
}  # LiveCellMiner (Moreno-Andres et al. 2022); six classes as in CellCognition (Held et al. 2010; Zhong et al. 2012)
REJECTED = "0"

Row = tuple[int, list[str]]  # number of a line and what it holds


def kind(root: Path, cells: list[Cell]) -> str:
    """Which of KINDS lies beside the cells.

    Raises:
        UserError: none, or both.
    """
    found = [name for name in KINDS if any(_paths(root, cell, name) for cell in cells)]
    if len(found) != 1:
        listed = " or ".join(f"<cell>_{name}" for name in KINDS)
        raise UserError(
            f"Expected stage files {listed} beside the cells of {root}, found {found or 'none'}; add them, or set "
            "data.table to a table of labels or transcripts"
        )
    return found[0]


def read(root: Path, cells: list[Cell], name: str) -> dict[str, Stages]:
    """Cell -> stages, of the cells that have some; a daughter B02 without its own file has its sister B01's.

    Raises:
        UserError: a cell that is no number, or more stages than frames; names file and line.
    """
    found: dict[str, Stages] = {}
    for cell in cells:
        if not (paths := _paths(root, cell, name)):
            continue
        shown = paths[0].relative_to(root).as_posix()
        line, values = _own(_rows(paths[0], shown), cell, cells, shown, paths[0].name == f"{_above(cell)}_{name}")
        if len(values) > cell.length:
            raise UserError(
                f"Expected at most {cell.length} stages for the {cell.length} frames of {cell.name}, got "
                f"{len(values)} in {shown}, line {line}; add the frames or remove stages"
            )
        values = values + [""] * (cell.length - len(values))
        found[cell.name] = Stages(values, [f"{shown}, line {line}, value {n + 1}" for n in range(cell.length)])
    return found


def _own(rows: list[Row], cell: Cell, cells: list[Cell], shown: str, shared: bool) -> Row:
    """A cell's line of its own file, or of the one that it shares with the other cells of its folder."""
    if shared:
        same = [other.name for other in cells if _above(other) == _above(cell)]
        if len(rows) != len(same):
            raise UserError(
                f"Expected a line for each of the {len(same)} cells beside {shown}, got {len(rows)}; correct the file"
            )
        return rows[same.index(cell.name)]
    if len(rows) > 1 and all(len(values) == 1 for _, values in rows):
        return rows[0][0], [values[0] for _, values in rows]
    if len(rows) > 1:
        raise UserError(f"Expected one line of stages in {shown}, got {len(rows)}; remove the others")
    return rows[0]


def _above(cell: Cell) -> str:
    return cell.name.rpartition("/")[0].rpartition("/")[2]


def _paths(root: Path, cell: Cell, name: str) -> list[Path]:
    inside, above = root / cell.name, (root / cell.name).parent
    sister = cell.folder.replace("B02", "B01")
    places = [inside / f"{cell.folder}_{name}", above / f"{cell.folder}_{name}"]
    if sister != cell.folder:
        places += [above / sister / f"{sister}_{name}", above / f"{sister}_{name}"]
    if _above(cell):
        places += [above / f"{above.name}_{name}", above.parent / f"{above.name}_{name}"]
    return [path for path in places if path.is_file()]


def _rows(path: Path, shown: str) -> list[Row]:
    rows = []
    for line, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        values = [value for value in re.split(r"[,;\s]+", text.strip()) if value]
        if wrong := [value for value in values if not re.fullmatch(r"\d+(\.0*)?", value)]:
            raise UserError(f"Expected numbers of stages in {shown}, line {line}, got {wrong[0]!r}; correct it")
        if values:
            rows.append((line, [value.partition(".")[0] for value in values]))
    if not rows:
        raise UserError(f"Expected numbers of stages in {shown}, found none; fill or remove the file")
    return rows

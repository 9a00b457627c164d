"""One folder of frames a cell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cellml.config import Data
from cellml.data.manifest import FRAME, PAGE, SEQUENCE, TRANSCRIPT
from cellml.data.problems import Problem, Rows
from cellml.data.report import many
from cellml.data.sources import cells, columns, labels, stage_files, stage_tables
from cellml.data.sources.base import SOURCES, assemble, refuse
from cellml.data.sources.cells import Cell, Stages
from cellml.errors import UserError


@SOURCES.register("sequences")
def sequences(
    data: Data,
    root: Path,
    cache_dir: Path,
    *,
    raw: str = "Raw",
    mask: str = "Mask",
    sequence: str = "sequence",
    frame: str = "frame",
    transcript: str = "transcript",
    first: int = 0,
    late: int | None = None,
) -> Rows:
    """A folder of frames a cell, with masks or without, and its stages by frame or in order; the movie is the group.

    `<movie>/<cell>/Raw/*` and `Mask/*` with stage files, as LiveCellMiner and Zhong et al. publish them, or
    `<movie>/<cell>/*` with a table (data.table): columns `sequence`, `frame` and a label, for all frames or some, or
    `sequence` and `transcript`, the stages in order as "a>b>c". A folder may hold one TIFF of several pages instead.

    Args:
        data: the experiment's data section; data.classes lists the stages in their order, or names the numbers of stage
            files (as a list, those of 1, 2, ...).
        root: the data folder.
        cache_dir: not used.
        raw: folder of frames in a cell's folder.
        mask: folder of masks beside it.
        sequence: column with the cell's folder, or its last part.
        frame: column with the frame's number.
        transcript: column with the stages in order.
        first: number of a sequence's first frame in the table.
        late: frames of LiveCellMiner's third stage after which a cell counts as interphase again; default: never.

    Raises:
        UserError: no cells, frames missing, a cell of one frame, more labels than frames, an unknown stage, or a
            transcript that does not fit.
    """
    refuse(data, "votes", "probabilities", "id", "file")
    found, published = cells.find(root, raw, mask)
    if data.table is None and published:
        where, transcripts, more = str(root), dict[str, str](), pd.DataFrame(index=pd.Index([], dtype=object))
        kind = stage_files.kind(root, found)
        known = stage_files.read(root, found, kind)
        data, known, problems = _numbered(data, known, kind, late)
    else:
        path = columns.find(data.table, root)
        names = stage_tables.Names(sequence, frame, transcript, data.label or "label", first)
        where, problems = path.name, list[Problem]()
        known, transcripts, more = stage_tables.read(path, found, names, data)
    kept = [cell for cell in found if cell.name in known or cell.name in transcripts]
    if not kept:
        raise UserError(f"Expected stages of the cells below {root} in {where}, found none that fit; correct the names")
    if left := tuple(cell.name for cell in found if cell not in kept):
        text = f"{many(len(left), 'cell')} of {where} without stages, left out ({left[0]}, say)"
        problems.append(Problem("no label", text, left))
    table = _frames(kept, transcripts)
    stages = [known.get(cell.name) or Stages([""] * cell.length, [where] * cell.length) for cell in kept]
    values = np.array([value for each in stages for value in each.values], dtype=object)
    named = labels.of_frames(values, data, where, [line for each in stages for line in each.lines])
    texts = table[["sequence", "movie", "cell", "family"]]
    more = more.reindex(texts["sequence"], fill_value="").reset_index(drop=True)
    texts = pd.concat([texts, more[[c for c in more if c not in texts]]], axis=1)
    frames = table.drop(columns=["movie", "cell", "family", "file"])
    if data.mask is not None:
        frames = frames.drop(columns="mask", errors="ignore")
    rows = assemble(texts, table["file"], named, data, root, where=where, group=table["movie"], frames=frames)
    return replace(rows, problems=[*rows.problems, *problems])


def _numbered(
    data: Data, known: dict[str, Stages], kind: str, late: int | None
) -> tuple[Data, dict[str, Stages], list[Problem]]:
    """Settings with the names of numbered stages, and the cells' stages without those that were rejected."""
    if not isinstance(data.classes, dict):
        given = data.classes or stage_files.KINDS[kind]
        data = data.model_copy(update={"classes": {str(n): name for n, name in enumerate(given, start=1)}})
    rejected = tuple(name for name, stages in known.items() if stage_files.REJECTED in stages.values)
    problems = []
    if rejected:
        text = f"{many(len(rejected), 'cell')} marked as rejected (stage 0), left out ({rejected[0]}, say)"
        problems.append(Problem("rejected", text, rejected))
    kept = {name: stages for name, stages in known.items() if name not in rejected}
    if late is not None:
        kept = {name: replace(stages, values=_recovered(stages.values, late)) for name, stages in kept.items()}
    return data, kept, problems


def _recovered(values: list[str], late: int) -> list[str]:
    """Stages of a cell that is in interphase again some frames after its third stage began."""
    after = values.index("3") + late if "3" in values else len(values)
    return [*values[:after], *("1" if value == "3" else value for value in values[after:])]


def _frames(kept: list[Cell], transcripts: dict[str, str]) -> pd.DataFrame:
    """A row a frame: the manifest's columns of frames, file, movie, cell and family."""
    rows = []
    for cell in kept:
        masks = cell.masks or ("",) * cell.length
        for n in range(cell.length):
            file = cell.files[0] if cell.paged else cell.files[n]
            mask = masks[0] if cell.paged else masks[n]
            rows.append((cell.name, n, file, n if cell.paged else 0, mask, cell.movie, cell.folder, cell.family))
    table = pd.DataFrame(rows, columns=[SEQUENCE, FRAME, "file", PAGE, "mask", "movie", "cell", "family"])
    if not any(cell.paged for cell in kept):
        table = table.drop(columns=PAGE)
    if transcripts:
        table[TRANSCRIPT] = [transcripts.get(name, "") for name in table[SEQUENCE]]
    return table if (table["mask"] != "").any() else table.drop(columns="mask")

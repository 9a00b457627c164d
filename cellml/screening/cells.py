"""The cells of a screen: which images count, and the plate, well and treatment of each."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.config import Data, Screen
from cellml.data import prepare
from cellml.data.manifest import SEQUENCE
from cellml.data.prepare import Dataset
from cellml.data.report import many
from cellml.errors import UserError
from cellml.evaluation import screens


@dataclass(frozen=True)
class Cells:
    """N images of a screen.

    Attributes:
        table: N rows: `id`, `plate`, `well`, `treatment`, `row` (of the pixels) and `pixels` (their hash).
        dataset: where their pixels are.
        notes: what a reader must know, a sentence each.
    """

    table: pd.DataFrame
    dataset: Dataset
    notes: tuple[str, ...] = ()


def data(given: Data, settings: Screen) -> Data:
    """The experiment's data as a screen reads them: all treatments, with plate and well, whatever their split."""
    columns = [name for name in (settings.plate, settings.well) if name]
    changes = {
        "keep": list(dict.fromkeys([*given.keep, *columns])),
        "unlisted": "keep",
        "partial": True,
        "split": None,
        "auxiliary": [],
        "mixtures": {},
    }
    if settings.treatment:
        changes |= {"label": settings.treatment, "votes": None, "probabilities": None}
        if settings.treatment != given.label:
            changes["classes"] = None
    return given.model_copy(update=changes)


def read(given: Data, settings: Screen) -> Cells:
    """Read the images of a screen; its controls are checked before any is decoded.

    Raises:
        UserError: as `prepare.read`; a column that is not there; controls that are no treatments; frames of movies.
    """
    wanted = data(given, settings)
    rows = prepare.listed(wanted)
    if SEQUENCE in rows.table:
        raise UserError(
            "Expected images of single cells for a screen, got frames of movies; choose another data.source"
        )
    screens.check_controls(settings.negative, settings.positive, set(rows.table["label"]))
    dataset = prepare.read(wanted, progress=True)
    manifest = dataset.manifest
    none = np.full(len(manifest), "", dtype=object)
    table = pd.DataFrame(
        {
            "id": manifest.ids,
            "plate": manifest.kept[settings.plate] if settings.plate else none,
            "well": manifest.kept[settings.well] if settings.well else manifest.groups,
            "treatment": manifest.table["label"].to_numpy(dtype=object),
            "row": manifest.rows,
            "pixels": manifest.table["pixels"].to_numpy(dtype=object),
        }
    )
    blank = (table["well"] == "") | ((table["plate"] == "") if settings.plate else False)
    notes = [problem.message for problem in dataset.report.problems]
    if blank.any():
        notes.append(f"{many(int(blank.sum()), 'image')} without plate or well left out")
    return Cells(table[~blank].reset_index(drop=True), dataset, tuple(notes))


def unseen(cells: Cells, learned: Collection[str] | None, settings: Screen) -> Cells:
    """Without the images that the model learned from or was chosen by.

    Args:
        cells: of a screen.
        learned: hashes of those images' pixels, None where they are not known.
        settings: `rows` "all" keeps them, and a note says so.

    Raises:
        UserError: nothing of a control is left.
    """
    if learned is None:
        text = "What the model learned from is not known: scores of its training images would be too good"
        return Cells(cells.table, cells.dataset, (*cells.notes, text))
    seen = cells.table["pixels"].isin(set(learned))
    if not seen.any():
        return cells
    count = f"{many(int(seen.sum()), 'image')} of {len(seen)}"
    if settings.rows == "all":
        text = f"{count} are among the model's training or validation images: their scores are too good"
        return Cells(cells.table, cells.dataset, (*cells.notes, text))
    left = cells.table[~seen].reset_index(drop=True)
    for name in (settings.negative, settings.positive):
        if name not in set(left["treatment"]):
            raise UserError(
                f"Expected images of the control {name!r} that the model has not seen, all are among its training and "
                "validation images; give other data, or screen.rows=all for scores that are too good"
            )
    notes = [f"{count} left out, which are among the model's training or validation images"]
    wells = [set(zip(part["plate"], part["well"], strict=True)) for part in (cells.table[seen], left)]
    if shared := len(wells[0] & wells[1]):
        notes.append(
            f"Cells of {many(shared, 'well')} that count were also seen in training; set data.group to the well"
        )
    return Cells(left, cells.dataset, (*cells.notes, *notes))


def by_plate(scores: npt.NDArray[np.float64], table: pd.DataFrame, settings: Screen) -> npt.NDArray[np.float64]:
    """Scores (N,) in units of their plate's controls: the negative one's median is 0, the positive one's 1.

    Raises:
        UserError: a plate without one of the controls, or where they do not differ.
    """
    frame = table.assign(score=scores)
    medians = frame.groupby(["plate", "treatment"])["score"].median().unstack("treatment")
    low, high = medians[settings.negative], medians[settings.positive]
    wrong = ~((high - low).abs() > 0)
    if wrong.any():
        raise UserError(
            f"Expected both controls, with scores that differ, on every plate for screen.normalise: plate, found "
            f"otherwise on {wrong[wrong].index[0]} ({int(wrong.sum())} such plates); set it to none"
        )
    return ((scores - table["plate"].map(low)) / table["plate"].map(high - low)).to_numpy(dtype=np.float64)

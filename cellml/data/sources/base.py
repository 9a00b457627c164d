"""The registry of sources and what all of them share: from raw columns to the manifest's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.config import Data
from cellml.data.manifest import (
    ARROW,
    AUXILIARY,
    BOX,
    FRAME,
    KEPT,
    MASK_VALUE,
    MIXTURE,
    PAGE,
    SEQUENCE,
    SOFT,
    TRANSCRIPT,
    VOTES,
)
from cellml.data.problems import Problem, Rows
from cellml.data.sources import columns, paths, published
from cellml.data.sources.labels import Labels
from cellml.errors import UserError
from cellml.registry import Registry

Source = Callable[..., Rows]
"""`source(data, root, cache_dir, *, options...) -> Rows`: `file` relative to `root`, `split` "" where none is named."""

NUMBERS = (FRAME, PAGE, MASK_VALUE)

SOURCES: Registry[Source] = Registry("source")


def refuse(data: Data, *settings: str) -> None:
    """Refuse settings that a source has no use for, rather than passing over them.

    Raises:
        UserError: one of them is set.
    """
    for name in settings:
        if getattr(data, name) is not None:
            raise UserError(f"data.{name} has no meaning with data.source: {data.source}; remove it")


def assemble(
    frame: pd.DataFrame,
    files: npt.ArrayLike,
    labels: Labels,
    data: Data,
    root: Path,
    *,
    where: str,
    group: npt.ArrayLike | None = None,
    split: npt.ArrayLike | None = None,
    boxes: pd.DataFrame | None = None,
    frames: pd.DataFrame | None = None,
) -> Rows:
    """Build a source's rows from its columns.

    Args:
        frame: (N,) text columns that data.group, data.split, data.id, data.mask, data.auxiliary and data.keep may name.
        files: (N,) paths relative to `root`.
        labels: the label of each row.
        data: the experiment's data section.
        root: the data folder.
        where: what the columns belong to, for messages: "cells.csv".
        group: (N,) what groups rows where data.group is not set; None: each row by itself.
        split: (N,) split names where data.split is not set.
        boxes: (N, 4) columns x0, y0, x1, y1 in source pixels.
        frames: (N, ...) the manifest's columns of frames of movies (`sequence`, `frame`, ...), and `mask` where
            data.mask is not set; rows without a label then stay, as unknown.

    Raises:
        UserError: a setting names a column that is not there, ids repeat, or fewer than two classes have rows.
    """
    frame = frame.reset_index(drop=True)
    table = pd.DataFrame({"file": np.asarray(files, dtype=object)})
    if boxes is not None:
        table[list(BOX)] = boxes[list(BOX)].to_numpy(dtype=np.int64)
    table["label"] = labels.names
    if frames is not None:
        table[list(frames.columns)] = frames.to_numpy(dtype=object)
        table = table.astype({name: np.int64 for name in NUMBERS if name in frames})
    table["id"] = _ids(frame, table, data, where)
    table["group"] = _groups(frame, table, data, where, group)
    table["split"] = np.full(len(frame), "", dtype=object) if split is None else np.asarray(split, dtype=object)
    keep, problems = (labels.names != "") | (frames is not None), list[Problem]()
    if data.split is not None:
        table["split"], stay, problems = published.splits(frame, data.split, root, where, table["id"])
        keep &= stay
    if data.mask is not None:
        table["mask"], more = paths.masks(frame, table, data.mask, root, where)
        problems += more
    if labels.soft is not None:
        table[[SOFT + name for name in labels.classes]] = labels.soft
    for expert, names in labels.votes.items():
        table[VOTES + expert] = names
    for name in data.auxiliary:
        table[AUXILIARY + name] = columns.column(frame, name, where, "data.auxiliary")
    for name in data.keep:
        table[KEPT + name] = columns.column(
            frame, name, where, "data.keep, screen.plate or screen.well, whichever names it,"
        )
    if labels.mixtures is not None:
        table[MIXTURE] = labels.mixtures
        if data.group is None and group is None:
            raise UserError(
                "Expected data.group with data.mixtures, found none: name the column of the wells (or parent, for the "
                "folders in between), since the ratio holds for a well and its images may not be split"
            )
    table = table[keep].reset_index(drop=True)
    if not len(table):
        raise UserError(
            f"Expected rows of the classes {list(labels.classes)} in {where}, found none; correct data.classes"
        )
    if not data.partial and (frames is None or stages(table)):
        _require_rows(stages(table), labels.classes, where)
    return Rows(table, labels.classes, [*labels.problems, *problems])


def stages(table: pd.DataFrame) -> set[str]:
    """Classes that rows have or whose sequences pass through them."""
    found = set(table["label"])
    if TRANSCRIPT in table:
        found |= {name for text in set(table[TRANSCRIPT]) for name in text.split(ARROW)}
    return found - {""}


def _ids(frame: pd.DataFrame, table: pd.DataFrame, data: Data, where: str) -> pd.Series:
    if data.id is not None:
        ids = columns.column(frame, data.id, where, "data.id")
        repeated = ids[ids.duplicated() | (ids == "")]
        if len(repeated):
            shown = repeated.iloc[0] or "(blank)"
            raise UserError(
                f"Expected a different {data.id!r} in each row of {where}, {shown!r} repeats or is blank; "
                "set data.id to a unique column or remove it"
            )
        return ids
    if SEQUENCE in table:
        return table[SEQUENCE] + "#" + table[FRAME].astype(str).astype(object)
    ids = table["file"].astype(object)
    if BOX[0] in table:
        ids = ids + "#" + table[list(BOX)].astype(str).agg(",".join, axis=1)
    number = ids.groupby(ids).cumcount()
    return ids.where(number == 0, ids + "#" + (number + 1).astype(str))


def _groups(frame: pd.DataFrame, table: pd.DataFrame, data: Data, where: str, given: npt.ArrayLike | None) -> pd.Series:
    if data.group is None:
        return table["id"] if given is None else pd.Series(np.asarray(given, dtype=object))
    names = [data.group] if isinstance(data.group, str) else data.group
    if not names:
        raise UserError("Expected a column name or a list of them in data.group, got an empty list; remove it")
    if names == ["parent"] and "parent" not in frame:
        return table["file"].str.rpartition("/")[0].astype(object)
    parts = [columns.column(frame, name, where, "data.group") for name in names]
    blank = np.logical_and.reduce([(part == "").to_numpy() for part in parts])
    joined = parts[0].astype(object)
    for part in parts[1:]:
        joined = joined + "/" + part
    if names == ["parent"] and blank.any():
        raise UserError(
            "Expected a folder for each group below the class folders for data.group: parent, found "
            f"{table['file'][blank.argmax()]} directly in one; remove data.group"
        )
    return joined.where(~blank, table["id"])


def _require_rows(found: set[str], classes: tuple[str, ...], where: str) -> None:
    if absent := [name for name in classes if name not in found]:
        raise UserError(f"Expected rows of class {absent[0]!r} in {where}, found none; correct data.classes")
    if len(classes) < 2:
        raise UserError(
            f"Expected at least two classes in {where}, found {list(classes)}; set data.label or data.path "
            "so that there are more"
        )

"""Splits that come with the data: a column, or a second table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.config import SplitTable
from cellml.data.problems import Problem
from cellml.data.sources import columns
from cellml.errors import UserError

NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
NAMES |= {"testing": "test", "": ""}


def splits(
    frame: pd.DataFrame, split: str | SplitTable, root: Path, where: str, ids: pd.Series
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.bool_], list[Problem]]:
    """Split of each row as data.split says.

    Returns:
        (N,) "train", "val", "test" or ""; (N,) whether the row stays; problems.

    Raises:
        UserError: a missing column or table, a name that is no split, or a table that fits no row.
    """
    if isinstance(split, str):
        names = split_names(columns.column(frame, split, where, "data.split"), where)
        return names, np.ones(len(frame), dtype=bool), []
    return _from_table(frame, split, root, where, ids)


def split_names(values: pd.Series | Sequence[str], where: str) -> npt.NDArray[np.object_]:
    """Split names as "train", "val" or "test", from usual spellings; "" stays.

    Raises:
        UserError: another name.
    """
    texts = [str(value).strip().lower() for value in values]
    if wrong := [text for text in texts if text not in NAMES]:
        raise UserError(f"Expected train, val or test as split in {where}, got {wrong[0]!r}; correct it")
    return np.array([NAMES[text] for text in texts], dtype=object)


def _from_table(
    frame: pd.DataFrame, split: SplitTable, root: Path, where: str, ids: pd.Series
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.bool_], list[Problem]]:
    if not split.match:
        raise UserError("Expected column names in data.split.match, got an empty list; name what both tables share")
    second = columns.read(columns.find(split.table, root, "data.split.table"))
    keys = _keys(frame, split.match, where)
    known = _keys(second, split.match, split.table)
    if not set(keys) & set(known):
        raise UserError(
            f"Expected rows of {where} in {split.table}, none agrees on {split.match}; correct data.split.match"
        )
    present, absent = split_names([split.present, split.absent], "data.split")
    if split.column is None:
        listed = set(known)
        names = np.array([present if key in listed else absent for key in keys], dtype=object)
        return names, np.ones(len(keys), dtype=bool), _unmatched(known, keys, split.table)
    names = split_names(columns.column(second, split.column, split.table, "data.split.column"), split.table)
    assigned: dict[tuple[str, ...], str] = {}
    for key, name in zip(known, names, strict=True):
        if assigned.setdefault(key, name) != name:
            raise UserError(f"Expected one split for {key} in {split.table}, found {assigned[key]!r} and {name!r}")
    stay = np.array([key in assigned for key in keys], dtype=bool)
    problems = _unmatched(known, keys, split.table)
    if not stay.all():
        text = f"{(~stay).sum()} rows of {where} are not in {split.table} and are left out"
        problems.append(Problem("no split", text, tuple(ids[~stay])))
    return np.array([assigned.get(key, "") for key in keys], dtype=object), stay, problems


def _keys(frame: pd.DataFrame, names: list[str], where: str) -> list[tuple[str, ...]]:
    parts = [columns.column(frame, name, where, "data.split.match") for name in names]
    return list(zip(*parts, strict=True))


def _unmatched(known: list[tuple[str, ...]], keys: list[tuple[str, ...]], table: str) -> list[Problem]:
    used = set(keys)
    left = list(dict.fromkeys(key for key in known if key not in used))
    if not left:
        return []
    text = f"{len(left)} rows of {table} fit no image ({'/'.join(left[0])}, say)"
    return [Problem("unused split row", text, tuple("/".join(key) for key in left))]

"""Files that a table names: always inside the data folder."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.data import images
from cellml.data.problems import Problem
from cellml.data.sources import columns
from cellml.errors import UserError


def files(
    frame: pd.DataFrame, names: npt.NDArray[np.object_], template: str | None, root: Path, where: str
) -> npt.NDArray[np.object_]:
    """File of each row by data.file, relative to the data folder; unchecked where the class name is "" (left out).

    A `*` in the template stands for one folder's name, whichever has the file.
    """
    filled = columns.fill(template or "file", frame, {"class": pd.Series(names)}, where, "data.file")
    keep = names != ""
    if "*" in (template or ""):
        filled[keep] = _found(filled[keep], template or "", root, where)
    result = filled.to_numpy(dtype=object, copy=True)
    result[keep] = inside(filled[keep], root, where)
    return result


def _found(patterns: pd.Series, template: str, root: Path, where: str) -> list[str]:
    """The one file that each path with a `*` in a folder's place means; the path itself where there is none."""
    folders = template.split("/")[:-1]
    if folders.count("*") != 1 or template.count("*") != 1:
        raise UserError(f"Expected data.file with one * in the place of one whole folder, got {template!r}")
    place = folders.index("*")
    below: dict[str, list[str]] = {}
    for file in images.files_below(root):
        parts = file.split("/")
        below.setdefault("/".join([*parts[:place], "*", *parts[place + 1 :]]), []).append(file)
    several = next((pattern for pattern in patterns if len(below.get(pattern, [])) > 1), None)
    if several is not None:
        raise UserError(
            f"Expected one file for each row of {where}, {several} is {' and '.join(below[several][:2])}; name the "
            "folder in data.file"
        )
    return [below.get(pattern, [pattern])[0] for pattern in patterns]


def inside(files: pd.Series, root: Path, where: str) -> npt.NDArray[np.object_]:
    """Paths brought to a plain form relative to the data folder.

    A path with `..` is resolved, links included, and must end inside the folder. Links that stand in the folder
    itself are the owner's and are followed.

    Raises:
        UserError: a blank path, or one that leads outside the folder.
    """
    real = root.resolve()
    return np.array([_one(str(file), root, real, where) for file in files], dtype=object)


def masks(
    frame: pd.DataFrame, table: pd.DataFrame, template: str, root: Path, where: str
) -> tuple[npt.NDArray[np.object_], list[Problem]]:
    """Mask file of each row, "" where there is none on disk (as a problem).

    The template may use the columns and {class}, {name} and {stem} of the image file.
    """
    name = table["file"].str.rpartition("/")[2]
    extra = {"class": table["label"], "name": name, "stem": name.str.replace(r"\.[^.]*$", "", regex=True)}
    filled = columns.fill(template, frame, extra, where, "data.mask")
    given = (filled != "").to_numpy()
    files = np.full(len(filled), "", dtype=object)
    files[given] = inside(filled[given], root, where)
    absent = np.array([bool(f) and not (root / f).is_file() for f in files], dtype=bool)
    problems = []
    if absent.any():
        text = f"{absent.sum()} masks are missing on disk ({files[absent.argmax()]}, say)"
        problems.append(Problem("missing mask", text, tuple(table["id"][absent])))
    return np.where(absent, "", files), problems


def _one(file: str, root: Path, real: Path, where: str) -> str:
    path = file.strip().replace("\\", "/")
    if not path:
        raise UserError(f"Expected a file in each row of {where}, found a blank one; correct the table or data.file")
    if "\0" in path:
        raise UserError(f"Expected file names in {where}, got {file!r} with a zero byte; correct it")
    if ".." in path.split("/") or os.path.isabs(path):
        target = (root / path).resolve()
        if not target.is_relative_to(real):
            raise UserError(f"Expected files inside {root}, {where} names {file!r}, which leads outside; correct it")
        return target.relative_to(real).as_posix()
    return os.path.normpath(path).replace(os.sep, "/")

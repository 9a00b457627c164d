"""Folders of frames, one a cell: which there are, their frames in order, and their masks."""

import re
from dataclasses import dataclass
from pathlib import Path

from cellml.data import images, movie
from cellml.data.tracks import fields
from cellml.errors import UserError

SISTER = re.compile(r"B0*[12](?=_|$|-)")  # how CellCognition's tracks number the two daughters of one mother
POSITION = re.compile(r"P\d{3,}")


@dataclass(frozen=True)
class Cell:
    """The frames of one cell.

    Attributes:
        name: folder of the cell, relative to the data folder.
        movie: what it was cut out of: the folder above, or the position in its name, or its family.
        family: name without the number of a daughter, so that sisters, who share their mother's frames, are one.
        files: in time order, relative to the data folder; one where it holds all frames as pages.
        masks: beside them, "" where there is none.
        length: number of frames.
        paged: whether the one file has the frames as pages.
    """

    name: str
    movie: str
    family: str
    files: tuple[str, ...]
    masks: tuple[str, ...]
    length: int
    paged: bool

    @property
    def folder(self) -> str:
        """Last part of the name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Stages:
    """What is known of the frames of one cell: stage of each as text, "" for unknown, and where it stands in a file."""

    values: list[str]
    lines: list[str]


def find(root: Path, raw: str, mask: str) -> tuple[list[Cell], bool]:
    """Cells below a data folder: folders with a folder `raw` in them, else folders with frames directly in them.

    Args:
        root: the data folder.
        raw: name of the folder of frames in a cell's folder, "Raw".
        mask: name of the folder of masks beside it, "Mask".

    Returns:
        The cells in natural order, and whether they have folders `raw`.

    Raises:
        UserError: no cells, one of a single frame, or frames missing; names folder and files.
    """
    folders: dict[str, list[str]] = {}
    for file in images.files_below(root):
        folders.setdefault(file.rpartition("/")[0], []).append(file)
    masks = {name: files for name, files in folders.items() if name.rpartition("/")[2].lower() == mask.lower()}
    frames = {name: files for name, files in folders.items() if name not in masks and name}
    inner = {name: files for name, files in frames.items() if name.rpartition("/")[2].lower() == raw.lower()}
    if inner:
        frames = {name.rpartition("/")[0]: files for name, files in inner.items()}
    if not frames:
        raise UserError(f"Expected a folder of frames for each cell below {root}, found none; check data.path")
    beside = {name.rpartition("/")[0]: files for name, files in masks.items()}
    movies = _movies(list(frames))
    return [_cell(root, name, movies[name], files, beside.get(name, [])) for name, files in frames.items()], bool(inner)


def _cell(root: Path, name: str, where: str, files: list[str], masks: list[str]) -> Cell:
    ordered, _ = fields.order(files, name)
    length, paged = len(ordered), False
    if length == 1 and movie.is_movie(root / ordered[0]):
        length, paged = len(movie.Movie(root / ordered[0])), True
    if length < 2:
        raise UserError(f"Expected several frames in {name}, found one ({files[0]}); add the others or remove it")
    return Cell(name, where, SISTER.sub("B", name), tuple(ordered), _matched(ordered, masks, name), length, paged)


def _matched(files: list[str], masks: list[str], name: str) -> tuple[str, ...]:
    """The mask of each frame: of the same name without ending, or where no name fits, the one in the same place."""
    stems = {_stem(file): file for file in masks}
    found = [stems.get(_stem(file), "") for file in files]
    if not masks or any(found):
        return tuple(found)
    if len(masks) != len(files):
        raise UserError(
            f"Expected a mask for each of the {len(files)} frames of {name}, found {len(masks)} of other names "
            f"({masks[0]}, say); name them as the frames"
        )
    return tuple(fields.order(masks, name)[0])


def _stem(file: str) -> str:
    return file.rpartition("/")[2].rpartition(".")[0]


def _movies(names: list[str]) -> dict[str, str]:
    """Cell -> movie."""
    above = {name: name.rpartition("/")[0] for name in names}
    if all(above.values()):
        return above
    found = {name: POSITION.search(name) for name in names}
    if all(found.values()):
        return {name: match[0] for name, match in found.items() if match}
    return {name: SISTER.sub("B", name) for name in names}

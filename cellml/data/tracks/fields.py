"""Whole-field movies that tracks lie in: a file of frames, or a folder with a file a frame."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cellml.data import images, movie
from cellml.errors import UserError


@dataclass(frozen=True)
class Field:
    """The frames of one movie.

    Attributes:
        name: its path relative to the data folder.
        files: relative to the data folder, one, or one a frame.
        length: number of frames.
        size: height and width in pixels.
        paged: whether the one file has the frames as pages.
        first: number in the first file's name, 0 of a file of frames.
    """

    name: str
    files: tuple[str, ...]
    length: int
    size: tuple[int, int]
    paged: bool
    first: int

    def file(self, frame: int) -> str:
        """The file that a frame, counted from 0, is in."""
        return self.files[0] if self.paged else self.files[frame]


def field(root: Path, name: str) -> Field:
    """The movie at a path below the data folder.

    Raises:
        UserError: nothing there, a movie of one frame, or frames missing or of different sizes; names the file.
    """
    path = root / name
    if path.is_dir():
        return _folder(root, name)
    if not path.is_file():
        raise UserError(f"Expected a movie (a folder of frames, .tif or .npy) at {path}, found none; correct its path")
    whole = movie.Movie(path)
    if len(whole) < 2:
        raise UserError(f"Expected a movie of several frames in {name}, found one; leave it out or join its frames")
    return Field(name, (name,), len(whole), whole.size, True, 0)


def order(names: list[str], where: str) -> tuple[list[str], int]:
    """Files of the frames of one movie in time order and the number of the first.

    The number is the last one in the names that tells all of them apart; where there is none, names are in natural
    order and nothing tells whether a frame is missing.

    Raises:
        UserError: numbers with a gap.
    """
    names = sorted(names, key=images.natural)
    found = [[int(n) for n in re.findall(r"\d+", name.rpartition("/")[2].rpartition(".")[0])] for name in names]
    width = min(map(len, found))
    for k in range(1, width + 1):
        numbers = [parts[-k] for parts in found]
        if len(set(numbers)) == len(names) and len(names) > 1:
            placed = sorted(zip(numbers, names, strict=True))
            steps = [b[0] - a[0] for a, b in pairwise(placed)]
            if max(steps) > min(steps):
                hole = steps.index(max(steps))
                raise UserError(
                    f"Expected the frames of {where} without a gap, found none between {placed[hole][1]} and "
                    f"{placed[hole + 1][1]}; add them, or divide the sequence there"
                )
            return [name for _, name in placed], placed[0][0]
    return names, 0


def same_size(root: Path, files: list[str], where: str) -> tuple[int, int]:
    """Height and width of the frames of one sequence; (0, 0) where none can be told.

    Raises:
        UserError: frames of different sizes; names both files.
    """
    known: tuple[int, int] | None = None
    first = ""
    for file in files:
        size = images.image_size(root / file)
        if size is None:
            continue
        if known is None:
            known, first = size, file
        if size != known:
            raise UserError(
                f"Expected the frames of {where} of one size, found {known[0]} x {known[1]} in {first} and {size[0]} x "
                f"{size[1]} in {file}; crop or resize them alike"
            )
    return known or (0, 0)


def _folder(root: Path, name: str) -> Field:
    prefix = "" if name in ("", ".") else name.rstrip("/") + "/"
    found = [prefix + p.name for p in (root / name).iterdir() if p.name.lower().endswith(images.SUFFIXES)]
    found = [file for file in found if not file.rpartition("/")[2].startswith(".")]
    if len(found) < 2:
        raise UserError(f"Expected a movie of several frames in {root / name}, found {len(found)}; correct its path")
    files, first = order(found, name or str(root))
    return Field(name, tuple(files), len(files), same_size(root, files, name or str(root)), False, first)

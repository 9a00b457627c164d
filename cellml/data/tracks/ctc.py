"""The text format of the Cell Tracking Challenge: lines `L B E P` beside label images.

L is the label of a track, B and E its first and last frame, P its parent's label or 0; in every label image the pixels
of a track have its label (http://celltrackingchallenge.net).
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from cellml.data import images
from cellml.errors import UserError

NAMES = ("man_track.txt", "res_track.txt")


def files(root: Path) -> list[Path]:
    """The track files below a data folder."""
    return sorted((p for p in root.rglob("*_track.txt") if p.name in NAMES), key=lambda p: images.natural(str(p)))


def read(root: Path) -> pd.DataFrame:
    """Tracks of all movies below a data folder: `01` with `01_GT/TRA/man_track.txt` or `01_RES/res_track.txt`.

    Returns:
        Columns movie, track, frame, x, y (centroids in pixels), parent, label (""), line, mask, mask_value.

    Raises:
        UserError: no track file, a line that is none, or a label that is in no pixel of a frame of its track.
    """
    found = files(root)
    if not found:
        raise UserError(f"Expected {' or '.join(NAMES)} below {root}, found none; correct data.path or options.format")
    table = pd.concat([_movie(root, path) for path in found], ignore_index=True)
    table.attrs["numbered"] = True
    return table


def _movie(root: Path, path: Path) -> pd.DataFrame:
    where = path.relative_to(root).as_posix()
    lines = _lines(path, where)
    rows = []
    for number, file in _labels(path.parent, where).items():
        pixels = images.read_image(file)[..., 0]
        present, inverse = np.unique(pixels, return_inverse=True)
        inverse = inverse.reshape(pixels.shape)
        area = np.bincount(inverse.ravel(), minlength=len(present))
        y, x = (
            np.bincount(inverse.ravel(), np.broadcast_to(axis, pixels.shape).ravel(), len(present)) / area
            for axis in np.ogrid[: pixels.shape[0], : pixels.shape[1]]
        )
        centre = {int(label): (x[k] + 0.5, y[k] + 0.5) for k, label in enumerate(present)}
        mask = file.relative_to(root).as_posix()
        for label, (begin, end, parent, line) in lines.items():
            if begin <= number <= end and label in centre:
                rows.append(
                    (str(label), number, *centre[label], str(parent) if parent else "", f"line {line}", mask, label)
                )
    names = ["track", "frame", "x", "y", "parent", "line", "mask", "mask_value"]
    table = pd.DataFrame(rows, columns=names)
    for label, (_, _, _, line) in lines.items():
        if str(label) not in set(table["track"]):
            raise UserError(
                f"Expected label {label} in the label images beside {where}, line {line}, found no pixel; correct it"
            )
    return table.assign(movie=_images(root, path), label="")


def _lines(path: Path, where: str) -> dict[int, tuple[int, int, int, int]]:
    found = {}
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip():
            continue
        parts = text.split()
        if len(parts) != 4 or not all(p.isdigit() for p in parts) or int(parts[1]) > int(parts[2]):
            raise UserError(
                f"Expected 'label first last parent' in {where}, line {line}, got {text.strip()!r}; correct it"
            )
        label, begin, end, parent = map(int, parts)
        if label in found:
            raise UserError(f"Expected each label once in {where}, found {label} again in line {line}; correct it")
        found[label] = (begin, end, parent, line)
    if not found:
        raise UserError(f"Expected lines 'label first last parent' in {where}, found none; check the file")
    return found


def _labels(folder: Path, where: str) -> dict[int, Path]:
    """Frame -> label image."""
    found = {}
    for path in sorted(folder.glob("*.tif*")):
        if match := re.search(r"(\d+)$", path.stem):
            found[int(match[1])] = path
    if not found:
        raise UserError(f"Expected label images (.tif) beside {where}, found none; add them")
    return dict(sorted(found.items()))


def _images(root: Path, path: Path) -> str:
    """The movie's folder: that of the track file's, without _GT, _ST or _RES."""
    for folder in path.parents:
        if match := re.fullmatch(r"(.+)_(GT|ST|RES)", folder.name):
            return (folder.parent / match[1]).relative_to(root).as_posix()
        if folder == root:
            break
    raise UserError(f"Expected {path.name} in a folder named MOVIE_GT or MOVIE_RES, found {path.parent}; rename it")

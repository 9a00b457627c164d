"""Where a movie's cells are, from whatever says so: tracks, ImageJ outlines, or masks, linked where they have to be."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cellml.data import images, roi
from cellml.data.tracks import btrack, ctc, formats, lineage
from cellml.errors import UserError, near
from cellml.sequences import linking
from cellml.sequences.cells import Cells, contour, extent, from_masks, from_outlines, with_outlines
from cellml.sequences.movies import Movie, opened

Link = Literal["auto", "yes", "no"]
COLUMNS = ("track", "frame", "x", "y", "parent", "label")


def read(
    movie: Movie,
    *,
    tracks: str = "",
    outlines: str = "",
    masks: str = "",
    link: Link = "auto",
    distance: float | None = None,
    columns: Mapping[str, str] | None = None,
    first: int | None = None,
) -> Cells:
    """Cells of a movie.

    Args:
        movie: T frames.
        tracks: a table with a row a cell and frame (columns track, frame, x, y, optional parent and label), a folder
            with btrack's tracks.csv and graph.json, or the man_track.txt or res_track.txt of the Cell Tracking
            Challenge; with `masks`, outlines are those of the labels beneath the tracks.
        outlines: ImageJ outlines `<frame>-<cell>.roi`, a folder or archive of them; `<cell>` is the track.
        masks: a movie of label images, 0 background.
        link: whether cells of neighbouring frames are joined to tracks: `yes`; `no`, an outline's cell and a mask's
            label being the same cell in every frame; `auto` joins masks and leaves outlines as they are named.
        distance: pixels that a cell moves at most between two frames; default: the median size of the cells.
        columns: the table's own names of its columns.
        first: number of the first frame in the table; default 0.

    Raises:
        UserError: nothing or too much is given, or what is given cannot be read or does not fit the movie.
    """
    if not (tracks or outlines or masks):
        raise UserError("Expected where the cells are, got none of tracks, outlines and masks; give one of them")
    if outlines and (tracks or masks):
        raise UserError("Expected outlines alone, got them with tracks or masks; leave one out")
    if link not in ("auto", "yes", "no"):
        raise UserError(f"Expected link to be auto, yes or no, got {link!r}")
    if tracks:
        cells = _from_tracks(Path(tracks).expanduser(), movie, columns or {}, first)
        return with_outlines(cells, opened(masks)) if masks else cells
    if outlines:
        named = from_outlines(roi.read(Path(outlines).expanduser()), outlines, len(movie))
    else:
        named = from_masks(opened(masks), len(movie), movie.shape[:2])
    if link == "yes" or (masks and link == "auto"):
        return linking.link(named, distance or extent(named) or 1.0)
    return named


def _from_tracks(path: Path, movie: Movie, columns: Mapping[str, str], first: int | None) -> Cells:
    if wrong := [key for key in columns if key not in COLUMNS]:
        raise UserError(f"Unknown column {wrong[0]!r} of a table of tracks: {near(wrong[0], COLUMNS)}")
    start, root = first or 0, path.parent
    if path.suffix.lower() == ".txt":
        table, root = _challenge(path)
        start = movie.first if first is None else first
    elif path.is_dir() or (path.name == btrack.TRACKS and (path.parent / btrack.GRAPH).is_file() and not columns):
        table = btrack.read(path if path.is_dir() else path.parent)
    else:
        if not path.is_file():
            raise UserError(f"Expected a table of tracks at {path}, found no file; check the path")
        table = formats.from_table(path, replace(formats.Names(), **columns), movie.path.name, root)
        table = _of(movie, table, path)
    table = table.assign(movie=movie.path.name, frame=table["frame"] - start)
    late = ((table["frame"] < 0) | (table["frame"] >= len(movie))).to_numpy()
    if late.any():
        at = table.iloc[int(late.argmax())]
        raise UserError(
            f"Expected frames {start} to {start + len(movie) - 1} of {movie.path.name} in {path.name}, {at.line} has "
            f"{at.frame + start}; correct it, or set first"
        )
    lineage.roots(table, path.name)
    lineage.gaps(table, True, path.name)
    rows = table[["track", "frame", "x", "y", "parent"]].assign(observed=table["label"])
    return Cells.of(rows, _outlines(table, root) if "mask" in table else None)


def _of(movie: Movie, table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The rows of one movie, where a table's column `movie` tells of several; of one movie it may bear another name."""
    names = np.array([Path(name).name for name in table["movie"]], dtype=object)
    if len(known := list(dict.fromkeys(names))) < 2:
        return table
    if movie.path.name not in known:
        shown = ", ".join(known[:3]) + (", ..." if len(known) > 3 else "")
        raise UserError(f"Expected rows of {movie.path.name} in column 'movie' of {path.name}, got those of {shown}")
    return table[names == movie.path.name].reset_index(drop=True)


def _challenge(path: Path) -> tuple[pd.DataFrame, Path]:
    """Tracks of a text of the Cell Tracking Challenge, and the folder above its movie's."""
    if not path.is_file():
        raise UserError(f"Expected a text of tracks at {path}, found no file; check the path")
    folder = next((f for f in path.parents if f.name.endswith(("_GT", "_ST", "_RES"))), None)
    if path.name not in ctc.NAMES or folder is None:
        raise UserError(f"Expected {' or '.join(ctc.NAMES)} in a folder named MOVIE_GT or MOVIE_RES, got {path}")
    table = ctc.read(folder.parent)
    return table[table["movie"] == folder.name.rpartition("_")[0]].reset_index(drop=True), folder.parent


def _outlines(table: pd.DataFrame, root: Path) -> list[np.ndarray | None]:
    """The outline of each row's label in its mask."""
    found: list[np.ndarray | None] = [None] * len(table)
    values = table["mask_value"].to_numpy()
    for file, rows in table.groupby("mask").indices.items():
        labels = images.read_image(root / str(file))[:, :, 0]
        for row in rows:
            inside = labels == values[row]
            if inside.any():
                found[row] = contour(inside)
    return found

"""Whole-field movies with tracks of their cells, cut into windows around each cell."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cellml.config import Data
from cellml.data.manifest import BOX, FRAME, MASK_VALUE, PAGE, PARENT, SEQUENCE
from cellml.data.problems import Problem, Rows
from cellml.data.sources import labels
from cellml.data.sources.base import SOURCES, assemble, refuse
from cellml.data.tracks import fields, formats, lineage
from cellml.data.tracks.fields import Field
from cellml.errors import UserError


@SOURCES.register("tracks")
def tracks(
    data: Data,
    root: Path,
    cache_dir: Path,
    *,
    format: Literal["auto", "table", "btrack", "ctc", "rois"] = "auto",
    frames: str | None = None,
    track: str = "track",
    frame: str = "frame",
    x: str = "x",
    y: str = "y",
    parent: str = "parent",
    movie: str = "movie",
    first: int | None = None,
    gaps: Literal["error", "fill"] = "error",
    shortest: int = 2,
) -> Rows:
    """Whole-field movies and tracks of their cells, each cell cut out as a square window; the lineage is the group.

    A movie is a folder with a file a frame, a TIFF of several pages, or .npy. Tracks are a table (columns `track`,
    `frame`, `x`, `y`, optional `parent`, `movie`, `mask`), btrack's tracks.csv, properties.csv and graph.json, the Cell
    Tracking Challenge's man_track.txt or res_track.txt beside label images, or ImageJ outlines `<frame>-<cell>.roi`.
    The window of `data.window` pixels has the cell in its middle; beyond the border the image's pixels repeat. Labels
    are optional, in the column `data.label` of the table, or of `data.table` beside the other formats.

    Args:
        data: the experiment's data section; data.classes lists the stages in their order.
        root: the data folder.
        cache_dir: where masks of outlines are kept.
        format: of the tracks; `auto`: what is found in the folder.
        frames: the movie, relative to the data folder, where no table names it; default: the only one there is.
        track: column of the track's name.
        frame: column of the frame's number.
        x: column of the centre, in pixels from the left.
        y: column of the centre, in pixels from the top.
        parent: column of the mother's track; blank, 0 or -1 for none, as is a track's own name.
        movie: column of the movie's path, where there are several.
        first: number of the first frame; default: 0, but of outlines and label images the number in the file's name.
        gaps: what becomes of a track without a row in a frame in the middle: `error`, or `fill`, on the line between.
        shortest: frames of the shortest track that is kept.

    Raises:
        UserError: no movie or tracks, a column or parent that is not there, a frame missing or outside the movie, or an
            unknown stage.
    """
    refuse(data, "votes", "probabilities", "id", "file")
    names = formats.Names(track, frame, x, y, parent, movie, data.label)
    table, where = formats.read(root, cache_dir, data.table, format, frames, names)
    movies = {name: fields.field(root, name) for name in dict.fromkeys(table["movie"])}
    table = _counted(table, movies, first, where)
    table["root"] = lineage.roots(table, where)
    table = lineage.gaps(table, gaps == "fill", where)
    table, problems = _long_enough(table, shortest, where)
    named = labels.of_frames(table["label"].to_numpy(dtype=object), data, where, table["line"])
    sequence, boxes = _sequence(table, movies, "track"), _boxes(table, data.window)
    columns = pd.DataFrame({SEQUENCE: sequence, FRAME: table.groupby(sequence, sort=False).cumcount()})
    columns[PARENT] = np.where(table["parent"] != "", _sequence(table, movies, "parent"), "")
    files = [movies[m].file(f) for m, f in zip(table["movie"], table["frame"], strict=True)]
    if any(field.paged for field in movies.values()):
        columns[PAGE] = np.where([movies[m].paged for m in table["movie"]], table["frame"], 0)
    if "mask" in table and data.mask is None:
        columns["mask"], columns[MASK_VALUE] = table["mask"], table[MASK_VALUE]
    texts = table.drop(columns=["x", "y", "line", "parent", "mask", MASK_VALUE], errors="ignore").astype(str)
    texts["family"] = texts["movie"] + "/" + texts.pop("root")
    rows = assemble(
        texts.astype(object),
        files,
        named,
        data,
        root,
        where=where,
        group=texts["family"],
        boxes=boxes,
        frames=columns,
    )
    return replace(rows, problems=[*rows.problems, *problems])


def _counted(table: pd.DataFrame, movies: dict[str, Field], first: int | None, where: str) -> pd.DataFrame:
    """Frames counted from 0, inside their movies; cells inside their fields."""
    named = table.attrs.get("numbered", False)  # frames are called by the numbers in their files' names
    start = {name: first if first is not None else field.first if named else 0 for name, field in movies.items()}
    frame = table["frame"] - table["movie"].map(start)
    length = table["movie"].map({name: field.length for name, field in movies.items()})
    outside = ((frame < 0) | (frame >= length)).to_numpy()
    if outside.any():
        at = table.iloc[int(outside.argmax())]
        low = start[at.movie]
        raise UserError(
            f"Expected frames {low} to {low + movies[at.movie].length - 1} of {at.movie} in {where}, {at.line} "
            f"has {at.frame}; correct it, or set data.options.first"
        )
    high = np.array([movies[name].size[::-1] for name in table["movie"]])
    centre = table[["x", "y"]].to_numpy(dtype=np.float64)
    beyond = ((centre < 0) | (centre >= high)).any(axis=1)
    if beyond.any():
        at = table.iloc[int(beyond.argmax())]
        height, width = movies[at.movie].size
        raise UserError(
            f"Expected cells inside the {width} x {height} pixels of {at.movie} in {where}, {at.line} has "
            f"x {at.x:g}, y {at.y:g}; correct it, or data.options x and y"
        )
    return table.assign(frame=frame)


def _long_enough(table: pd.DataFrame, shortest: int, where: str) -> tuple[pd.DataFrame, list[Problem]]:
    long = table.groupby(["movie", "track"])["frame"].transform("size") >= shortest
    if long.all():
        return table, []
    left = table[~long].drop_duplicates(["movie", "track"])
    shown = tuple(left["movie"] + "/" + left["track"])
    text = f"{len(shown)} tracks of {where} have fewer than {shortest} frames and are left out ({shown[0]}, say)"
    if not long.any():
        raise UserError(f"Expected tracks of {shortest} frames or more in {where}, found none; lower options.shortest")
    return table[long].reset_index(drop=True), [Problem("short track", text, shown)]


def _sequence(table: pd.DataFrame, movies: dict[str, Field], column: str) -> pd.Series:
    if len(movies) == 1:
        return table[column].astype(object)
    return (table["movie"] + "/" + table[column]).astype(object)


def _boxes(table: pd.DataFrame, window: int) -> pd.DataFrame:
    corner = np.floor(table[["x", "y"]].to_numpy(dtype=np.float64)).astype(np.int64) - window // 2
    return pd.DataFrame(np.concatenate([corner, corner + window], axis=1), columns=list(BOX))

"""Tables of tracks from the formats that trackers write; see `cellml.data.tracks.lineage` for the columns."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.data import images, movie
from cellml.data.sources import columns, paths
from cellml.data.tracks import btrack, ctc, outlines
from cellml.errors import UserError, near

NONE = ("", "0", "-1")  # a parent that is none


@dataclass(frozen=True)
class Names:
    """Columns of a table of tracks."""

    track: str = "track"
    frame: str = "frame"
    x: str = "x"
    y: str = "y"
    parent: str = "parent"
    movie: str = "movie"
    label: str | None = None


def read(
    root: Path, cache_dir: Path, table: str | None, kind: str, frames: str | None, names: Names
) -> tuple[pd.DataFrame, str]:
    """Tracks below a data folder.

    Args:
        root: the data folder.
        cache_dir: where masks of outlines are kept.
        table: data.table: the tracks, or beside other formats the labels.
        kind: the format, or "auto".
        frames: the movie where no table names it.
        names: columns of the table.

    Returns:
        The table (see `lineage`), where known with `mask` and `mask_value`; and what it was read from. Its attribute
        `numbered` says that frames are called by the numbers in their files' names.

    Raises:
        UserError: nothing of the format is there, or a file that cannot be read; names file and line.
    """
    kind = _found(root) if kind == "auto" else kind
    if kind == "table":
        path = columns.find(table, root)
        found = from_table(path, names, None if frames is None else frames, root)
        return found.assign(movie=paths.inside(found["movie"], root, path.name)), path.name
    if kind == "btrack":
        found, where = btrack.read(root), btrack.TRACKS
        found["movie"] = _movie(root, frames)
    elif kind == "ctc":
        found, where = ctc.read(root), "the track files"
    elif kind == "rois":
        found, where = outlines.read(root, cache_dir, frames or _movie(root, None)), "the outlines"
    else:
        raise UserError(f"Expected a format of tracks, got {kind!r}: {near(kind, ['table', 'btrack', 'ctc', 'rois'])}")
    return (found if table is None else _labelled(found, root / table, names)), where


def from_table(path: Path, names: Names, frames: str | None, root: Path) -> pd.DataFrame:
    """Tracks from a table with a row a frame of a track; further columns stay, as text.

    Raises:
        UserError: a column that is not there, or a cell that is no number; names the line.
    """
    raw = columns.read(path)
    where = path.name
    table = pd.DataFrame({"line": columns.lines(len(raw))})
    table["track"] = [plain(t) for t in columns.column(raw, names.track, where, "data.options.track")]
    if (blank := (table["track"] == "").to_numpy()).any():
        raise UserError(f"Expected a track in each line of {where}, {table['line'][blank.argmax()]} has none")
    table["frame"] = whole(raw, names.frame, where, "data.options.frame")
    for axis, name in (("x", names.x), ("y", names.y)):
        table[axis] = number(raw, name, where, f"data.options.{axis}")
    mothers = [plain(t) for t in raw[names.parent]] if names.parent in raw else [""] * len(raw)
    own = table["track"].tolist()
    table["parent"] = ["" if m in NONE or m == t else m for m, t in zip(mothers, own, strict=True)]
    table["movie"] = raw[names.movie] if names.movie in raw else _movie(root, frames)
    label = names.label or next((c for c in ("label", "stage", "state") if c in raw), None)
    table["label"] = columns.column(raw, label, where, "data.label") if label else ""
    if "mask" in raw:
        named = (raw["mask"] != "").to_numpy()
        table["mask"] = ""
        table.loc[named, "mask"] = paths.inside(raw["mask"][named], root, where)
        table["mask_value"] = whole(raw, names.track, where, "data.options.track")
    return pd.concat([table, raw[[c for c in raw if c not in table]]], axis=1)


def plain(text: str) -> str:
    """A name as text; a whole number without its decimal zero."""
    return text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdigit() else text


def number(raw: pd.DataFrame, name: str, where: str, setting: str) -> npt.NDArray[np.float64]:
    """A column of numbers.

    Raises:
        UserError: no such column, or a cell that is none; names the line.
    """
    texts = columns.column(raw, name, where, setting)
    values = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    if (wrong := ~np.isfinite(values)).any():
        row = int(wrong.argmax())
        raise UserError(
            f"Expected a number in column {name!r} of {where}, got {texts.iloc[row]!r} in line {row + 2}; correct it"
        )
    return values


def whole(raw: pd.DataFrame, name: str, where: str, setting: str) -> npt.NDArray[np.int64]:
    """A column of whole numbers.

    Raises:
        UserError: no such column, or a cell that is none; names the line.
    """
    values = number(raw, name, where, setting)
    if (wrong := values != np.floor(values)).any():
        row = int(wrong.argmax())
        raise UserError(f"Expected whole numbers in column {name!r} of {where}, got {values[row]:g} in line {row + 2}")
    return values.astype(np.int64)


def _found(root: Path) -> str:
    if ctc.files(root):
        return "ctc"
    if (root / btrack.TRACKS).is_file() and (root / btrack.GRAPH).is_file():
        return "btrack"
    return "rois" if outlines.archive(root) else "table"


def _movie(root: Path, given: str | None) -> str:
    """The given movie, or the only one in the data folder: a file of frames, a folder of them, or the folder itself."""
    if given is not None:
        return given
    inside = sorted(p for p in root.iterdir() if not p.name.startswith("."))
    found = [p.name for p in inside if p.is_file() and p.suffix.lower() in movie.SUFFIXES and movie.is_movie(p)]
    found += [p.name for p in inside if p.is_dir() and any(f.suffix.lower() in images.SUFFIXES for f in p.iterdir())]
    if not found and any(p.suffix.lower() in images.SUFFIXES for p in inside):
        found = ["."]
    if len(found) != 1:
        raise UserError(
            f"Expected one movie (a folder of frames, .tif or .npy) in {root}, found {found}; name it in "
            "data.options.frames, or in a column of the table"
        )
    return found[0]


def _labelled(tracks: pd.DataFrame, path: Path, names: Names) -> pd.DataFrame:
    """Tracks with the labels of a table of (movie, track, frame, label)."""
    raw = columns.read(path)
    label = names.label or "label"
    keys = ["movie", "track", "frame"] if names.movie in raw else ["track", "frame"]
    table = pd.DataFrame({"label": columns.column(raw, label, path.name, "data.label")})
    table["track"] = [plain(t) for t in columns.column(raw, names.track, path.name, "data.options.track")]
    table["frame"] = whole(raw, names.frame, path.name, "data.options.frame")
    if "movie" in keys:
        table["movie"] = raw[names.movie]
    table["line"] = columns.lines(len(table))
    known = set(zip(*(tracks[k] for k in keys), strict=True))
    strange = [key not in known for key in zip(*(table[k] for k in keys), strict=True)]
    if any(strange):
        at = table.iloc[strange.index(True)]
        raise UserError(
            f"Expected labels of frames that are tracked in {path.name}, {at.line} has frame {at.frame} of track "
            f"{at.track}, which is not; correct it"
        )
    attrs = tracks.attrs
    joined = tracks.drop(columns="label").merge(table.drop(columns="line"), on=keys, how="left")
    joined["label"] = joined["label"].fillna("")
    joined.attrs = attrs
    return joined

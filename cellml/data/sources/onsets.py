"""Movies of one cell each, and the frames in which its stages begin."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from cellml.config import Data
from cellml.data.images import natural
from cellml.data.manifest import FRAME, PAGE, SEQUENCE
from cellml.data.movie import SUFFIXES
from cellml.data.problems import Problem, Rows
from cellml.data.sources import columns, labels, paths
from cellml.data.sources.base import SOURCES, assemble, refuse
from cellml.data.tracks import fields
from cellml.data.tracks.fields import Field
from cellml.errors import UserError


@SOURCES.register("onsets")
def onsets(data: Data, root: Path, cache_dir: Path, *, first: int = 0) -> Rows:
    """Movies (TIFF of several pages, .npy, a folder of frames) and a table of stage onsets; the movie is the group.

    The table (data.table) has a row a movie: data.file (default: column `file`), and a column a stage with the frame in
    which it begins, blank where the cell skips it. Frames before the first onset belong to the first stage, which may
    be without a column. data.classes lists the stages in their order, or maps columns to them.

    Args:
        data: the experiment's data section.
        root: the data folder.
        cache_dir: not used.
        first: number of a movie's first frame in the table.

    Raises:
        UserError: no movie, a movie of one frame, a stage that is no column, or onsets that are no numbers, out of
            order or beyond the movie's end; names the line.
    """
    refuse(data, "label", "votes", "probabilities", "id")
    path = columns.find(data.table, root)
    frame, where = columns.read(path), path.name
    classes = data.classes or [str(name) for name in frame if _counts(frame[name])]
    order = list(classes.values()) if isinstance(classes, dict) else classes
    data = data.model_copy(update={"classes": order})
    begins = _columns(frame, classes, where)
    files = paths.files(frame, np.full(len(frame), "?", dtype=object), data.file, root, where)
    if (repeated := pd.Series(files).duplicated().to_numpy()).any():
        row = int(repeated.argmax())
        raise UserError(f"Expected each movie once in {where}, line {row + 2} has {files[row]} again; remove it")
    movies = [fields.field(root, str(file)) for file in files]
    values, source = [], np.repeat(np.arange(len(frame)), [movie.length for movie in movies])
    for row, movie in enumerate(movies):
        at = [_onset(frame[name][row], name, first, movie, f"{where}, line {row + 2}") for name in begins.values()]
        values += _stages(list(begins), at, order[0], movie, f"{where}, line {row + 2}")
    number = np.concatenate([np.arange(movie.length) for movie in movies])
    frames = pd.DataFrame({SEQUENCE: files[source], FRAME: number})
    if any(movie.paged for movie in movies):
        frames[PAGE] = np.where([movies[k].paged for k in source], number, 0)
    texts = frame.iloc[source].reset_index(drop=True).assign(sequence=files[source])
    named = labels.of_frames(np.array(values, dtype=object), data, where, columns.lines(len(values)))
    each = [movies[k].file(n) for k, n in zip(source, number, strict=True)]
    rows = assemble(texts, each, named, data, root, where=where, group=files[source], frames=frames)
    return replace(rows, problems=[*rows.problems, *_unused(root, movies, where)])


def _counts(values: pd.Series) -> bool:
    return bool(values.str.fullmatch(r"\d*").all() and (values != "").any())


def _columns(frame: pd.DataFrame, classes: dict[str, str] | list[str], where: str) -> dict[str, str]:
    """Stage -> column, in order; the first stage may be without."""
    wanted = {name: c for c, name in classes.items()} if isinstance(classes, dict) else {name: name for name in classes}
    stages = list(wanted)
    if len(stages) < 2:
        raise UserError(f"Expected columns of stage onsets in {where}, found {stages}; name them in data.classes")
    for stage in stages[1:]:
        columns.column(frame, wanted[stage], where, "data.classes")
    return {stage: name for stage, name in wanted.items() if name in frame}


def _onset(text: str, name: str, first: int, movie: Field, place: str) -> int | None:
    if text == "":
        return None
    if not text.isdigit():
        raise UserError(
            f"Expected the frame in which {name} begins in {place}, got {text!r}; correct it or leave blank"
        )
    if not 0 <= int(text) - first < movie.length:
        raise UserError(
            f"Expected {name} to begin in one of the frames {first} to {first + movie.length - 1} of {movie.name}, got "
            f"{text} in {place}; correct it, or set data.options.first"
        )
    return int(text) - first


def _stages(names: list[str], onsets: list[int | None], before: str, movie: Field, place: str) -> list[str]:
    found = [(at, name) for at, name in zip(onsets, names, strict=True) if at is not None]
    for (at, name), (later, following) in pairwise(found):
        if later <= at:
            raise UserError(
                f"Expected {following} to begin after {name} in {place}, got {later} and {at}; correct the onsets"
            )
    stages = [before] * movie.length
    for at, name in found:
        stages[at:] = [name] * (movie.length - at)
    return stages


def _unused(root: Path, movies: list[Field], where: str) -> list[Problem]:
    used = {file for movie in movies for file in movie.files}
    inside = (p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    left = tuple(sorted((file for file in inside if file not in used), key=natural))
    text = f"{len(left)} movies are not in {where} and are left out ({left[0] if left else ''}, say)"
    return [Problem("no label", text, left)] if left else []

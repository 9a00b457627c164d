"""From a movie and a model to overlay, table and population curves in one run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellml.data.report import many
from cellml.errors import UserError, near
from cellml.movies import attributions, crops
from cellml.movies.crops import Show, Stages
from cellml.movies.settings import Settings
from cellml.sequences import population, tracked
from cellml.sequences.cells import Cells, extent
from cellml.sequences.movies import Movie, opened, windows
from cellml.sequences.overlay import video
from cellml.sequences.overlay.panel import Words
from cellml.sequences.overlay.render import Heat, Renderer
from cellml.sequences.said import Said
from cellml.tracking.run import Run

FOLDER = "movie"
COLOURS = 3  # channels of a model that a gray movie may be repeated for
Say = Callable[[str], None]
# log-probabilities (T, K) of a track -> its stages (T,), None where no order of stages leads through so few frames
Decode = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.int64] | None]


@dataclass(frozen=True)
class Model:
    """What a movie needs of a model.

    Attributes:
        name: what the overlay calls it.
        classes: the K stage names, in biological order.
        channels: C of the windows it takes.
        dtype: of the windows it takes.
        crop: side of the central part of a window that it looks at, or None for all of it.
        window: side of the windows that it was trained on, where they were cut from a field, or None.
        stages: windows of one track, in order of time (T, H, W, C), to probabilities (T, K).
        whole: it looks at a track as a whole, so that no frame of it may be missing.
        decode: log-probabilities of one track to its stages, or None.
        rebuilt: gives the network itself, for attributions.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    dtype: str
    crop: int | None
    stages: Stages
    whole: bool = False
    window: int | None = None
    decode: Decode | None = None
    rebuilt: Callable[[], object] | None = None


def run(settings: Settings, model: Model, tracked_run: Run, show: Show, say: Say) -> None:
    """Ask a model about every cell of a movie, and log what it says.

    Logs `movie/cells.csv` (a row a cell and frame), `movie/population.csv` with `movie/population.png`,
    `movie/overlay.mp4` and `.gif`, and for a single track `movie/track_<name>.mp4` and `.gif`.

    Args:
        settings: the movie and its cells.
        model: what is asked.
        tracked_run: the run that receives it all.
        show: progress.
        say: prints a line.

    Raises:
        UserError: a movie, or what says where its cells are, that cannot be read, or does not fit the model.
    """
    mitotic = population.mitotic_stages(model.classes, settings.mitotic)
    network = model.rebuilt() if model.rebuilt and settings.attribution else None
    if settings.attribution:
        attributions.check(settings.attribution, network)
    movie = opened(settings.movie, settings.channels)
    _check(model, movie)
    cells = _cells(settings, movie)
    if settings.track and settings.track not in set(cells.table["track"]):
        raise UserError(f"Expected a track of the movie, got {settings.track!r}: {near(settings.track, _names(cells))}")
    side = _side(settings, model, cells)
    say(f"{len(movie)} frames, {len(_names(cells))} tracks, {len(cells)} cells; the model sees {side} x {side} pixels")
    said, heat = _said(settings, model, network, movie, cells, side, show, say)
    _report(said, model, tracked_run, say)
    words = Words(model.name, settings.caption, settings.interval)
    with tracked_run.artifacts() as top:
        folder = top / FOLDER
        folder.mkdir()
        said.table().to_csv(folder / "cells.csv", index=False)
        course = population.table(said, len(movie), mitotic, settings.interval)
        course.to_csv(folder / "population.csv", index=False)
        drawn = population.figure(course, model.classes, mitotic, settings.caption)
        drawn.savefig(folder / "population.png", bbox_inches="tight")
        seen = min(side, model.crop or side)
        renderer = Renderer(movie, said, words, heat=heat, window=seen)
        _write(renderer, folder, "overlay", settings.rate, show)
        if settings.track:
            single = one_cell(movie, said, settings.track, side, words, heat, seen)
            _write(single, folder, f"track_{_file_name(settings.track)}", settings.rate, show)
    if not mitotic:
        say("note: no mitotic index, no stage is called so; name them with -P mitotic=A,B")


def one_cell(
    movie: Movie, said: Said, track: str, side: int, words: Words, heat: Heat | None = None, seen: int = 0
) -> Renderer:
    """A movie of one cell that stays in the middle.

    Args:
        movie: the whole field.
        said: of all its cells.
        track: which.
        side: of the window in pixels.
        words: of the panel.
        heat: what to lay over a row of `said`, or None.
        seen: side of what `heat` is laid over.
    """
    chosen = (said.cells.table["track"] == track).to_numpy()
    one = said.where(chosen)
    filled, _ = one.cells.filled()
    frames, corners = filled.table["frame"].to_numpy(), crops.corners(filled, side)
    at = corners[one.cells.table["frame"].to_numpy() - frames[0]]
    shifted = one.cells.table.assign(
        frame=one.cells.table["frame"] - frames[0],
        x=one.cells.table["x"] - at[:, 0],
        y=one.cells.table["y"] - at[:, 1],
    )
    outlines = [None if o is None else o - corner for o, corner in zip(one.cells.outlines, at, strict=True)]
    rows = np.flatnonzero(chosen)
    return Renderer(
        windows(movie, frames.tolist(), corners, side),
        replace(one, cells=Cells(shifted, tuple(outlines))),
        replace(words, title=f"cell {track}: {words.title}", first=int(frames[0]), frames=len(movie)),
        single=True,
        heat=None if heat is None else lambda row: heat(int(rows[row])),
        window=seen,
    )


def _check(model: Model, movie: Movie) -> None:
    channels = movie.shape[2]
    if channels != model.channels and not (channels == 1 and model.channels == COLOURS):
        alike = ", or of one," if model.channels == COLOURS else ""
        raise UserError(
            f"Expected frames of {model.channels} channels{alike} for {model.name}, got {channels} in "
            f"{movie.names[0]}; choose some with channels=0,1, or another model"
        )
    if movie.dtype != model.dtype:
        raise UserError(
            f"Expected {model.dtype} frames as {model.name} was trained on, got {movie.dtype} in {movie.names[0]}; "
            "convert the movie or choose another model"
        )


def _cells(settings: Settings, movie: Movie) -> Cells:
    return tracked.read(
        movie,
        tracks=settings.tracks,
        outlines=settings.outlines,
        masks=settings.masks,
        link=settings.link,
        distance=settings.distance,
        columns=settings.columns,
        first=settings.first,
    )


def _side(settings: Settings, model: Model, cells: Cells) -> int:
    if settings.window:
        return settings.window
    if known := model.crop or model.window:
        return known
    size = extent(cells)
    if size is None:
        raise UserError(
            "Expected the side of the window around a cell, got neither it nor outlines; set window=64, say"
        )
    return 2 * round(size)


def _said(
    settings: Settings,
    model: Model,
    network: object,
    movie: Movie,
    cells: Cells,
    side: int,
    show: Show,
    say: Say,
) -> tuple[Said, Heat | None]:
    asked, there = cells.filled() if model.whole else (cells, np.ones(len(cells), dtype=bool))
    with crops.cut(movie, asked, side, model.channels, show) as cut:
        found = crops.probabilities(cut, asked, model.stages, len(model.classes), show)
        decoded = None if model.decode is None else _decoded(found, asked, model.decode, say)
        said = Said(cells, found[there], model.classes, None if decoded is None else decoded[there])
        if not settings.attribution:
            return said, None
        return said, attributions.heat(settings.attribution, network, cut[there], said.stages, show)


def _decoded(said: npt.NDArray[np.float64], cells: Cells, decode: Decode, say: Say) -> npt.NDArray[np.int64]:
    """The stage of each row after decoding its track as a whole, (N,); the most probable one where it fits no order."""
    found, logs = said.argmax(axis=1), np.log(np.maximum(said, np.finfo(np.float64).tiny))
    odd = []
    for track, rows in cells.tracks():
        if (stages := decode(logs[rows])) is None:
            odd.append(track)
        else:
            found[rows] = stages
    if odd:
        say(f"note: {many(len(odd), 'track')} (first {odd[0]}) not decoded: no order that was learned fits")
    return found


def _report(said: Said, model: Model, run: Run, say: Say) -> None:
    counts = np.bincount(said.stages, minlength=len(model.classes))
    say(", ".join(f"{name} {count / len(said.cells):.1%}" for name, count in zip(model.classes, counts, strict=True)))
    known = said.observed >= 0
    found = {"cells": len(said.cells), "tracks": len(_names(said.cells)), "entropy": float(said.entropy.mean())}
    if known.any():
        found["agreement"] = float((said.stages == said.observed)[known].mean())
        say(f"as observed in {found['agreement']:.1%} of {known.sum()} labelled frames of cells")
    run.metrics({f"movie/{name}": float(value) for name, value in found.items()})


def _write(renderer: Renderer, folder: Path, name: str, rate: float, show: Show) -> None:
    frames = (renderer.frame(t) for t in show(range(len(renderer)), f"drawing {name}"))
    video.write(frames, len(renderer), folder, name, rate)


def _names(cells: Cells) -> list[str]:
    return cells.table["track"].unique().tolist()


def _file_name(track: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in track)

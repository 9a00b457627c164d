"""Simulated movies, written once into the cache and then read as tracks."""

from dataclasses import replace
from pathlib import Path

from cellml.config import Data
from cellml.data import chromatin, lineages, nuclei, simulate_movies
from cellml.data.problems import Rows
from cellml.data.sources import simulated
from cellml.data.sources.base import SOURCES
from cellml.data.sources.tracks import tracks


@SOURCES.register("simulated_movies")
def simulated_movies(
    data: Data,
    root: Path,
    cache_dir: Path,
    *,
    movies: int = 12,
    frames: int = 40,
    cells: int = 4,
    seed: int = 0,
    size: int = 160,
    channels: int = 1,
    difficulty: float = 0.5,
) -> Rows:
    """Movies of dividing fluorescent nuclei with masks and lineages, made by the program; the movie is the group.

    The options are those of `cellml.data.simulate_movies.write`; windows of `data.window` pixels are cut around each
    nucleus.

    Raises:
        UserError: data.path is set, or an option is out of range.
    """
    options = {
        "movies": movies,
        "frames": frames,
        "cells": cells,
        "seed": seed,
        "size": size,
        "channels": channels,
        "difficulty": difficulty,
    }
    folder = simulated.made_once(
        data, cache_dir, simulate_movies.write, options, (simulate_movies, chromatin, lineages)
    )
    defaults = {"label": "stage", "group": "movie", "classes": list(nuclei.STAGES)}
    unset = {name: value for name, value in defaults.items() if getattr(data, name) is None}
    read = tracks(data.model_copy(update={"table": "tracks.csv", **unset}), folder, cache_dir, format="table")
    return replace(read, root=folder)

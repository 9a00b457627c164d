"""Where rows come from: a registry of functions that read a data folder."""

from cellml.data.sources import (  # noqa: F401  (they register themselves)
    folders,
    onsets,
    points,
    pseudo_movies,
    sequences,
    simulated,
    simulated_cultures,
    simulated_movies,
    table,
    tracks,
    voc,
    wells,
)
from cellml.data.sources.base import SOURCES

__all__ = ["SOURCES"]

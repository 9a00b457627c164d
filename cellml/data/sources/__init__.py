"""Where rows come from: a registry of functions that read a data folder."""

from cellml.data.sources import folders, points, simulated, table, voc, wells  # noqa: F401  (they register themselves)
from cellml.data.sources.base import SOURCES

__all__ = ["SOURCES"]

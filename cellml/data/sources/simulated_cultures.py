"""Simulated cultures on plates, written once into the cache and then read as a table."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cellml.config import Data
from cellml.data import mitochondria, nuclei, simulate_cultures, stem_cells
from cellml.data import plates as layouts
from cellml.data.problems import Rows
from cellml.data.sources import simulated
from cellml.data.sources.base import SOURCES
from cellml.data.sources.table import table

MODULES = (simulate_cultures, layouts, stem_cells, mitochondria, nuclei)


@SOURCES.register("simulated_cultures")
def simulated_cultures(
    data: Data,
    root: Path,
    cache_dir: Path,
    *,
    plates: int = 4,
    wells: int = 4,
    cells: int = 20,
    seed: int = 0,
    size: int = 64,
    treatments: Mapping[str, float] | None = None,
    intensity: float = 0.36,
    fragmentation: float = 0.7,
    batch: float = 1.0,
    difficulty: float = 0.5,
) -> Rows:
    """Stem cells on plates, diseased, treated and healthy, with a known difference; the well of a plate is the group.

    The options are those of `cellml.data.simulate_cultures.write`; the table has the columns plate, well, treatment
    and what was planted in each cell.

    Raises:
        UserError: data.path is set, or an option is out of range.
    """
    options = {
        "plates": plates,
        "wells": wells,
        "cells": cells,
        "seed": seed,
        "size": size,
        "treatments": treatments,
        "intensity": intensity,
        "fragmentation": fragmentation,
        "batch": batch,
        "difficulty": difficulty,
    }
    folder = simulated.made_once(data, cache_dir, simulate_cultures.write, options, MODULES)
    defaults = {
        "table": "table.csv",
        "label": "treatment",
        "group": ["plate", "well"],
        "mask": "mask",
        "classes": list(simulate_cultures.line(treatments)),
    }
    unset = {name: value for name, value in defaults.items() if getattr(data, name) is None}
    return replace(table(data.model_copy(update=unset), folder, cache_dir), root=folder)

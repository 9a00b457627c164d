"""Simulated cultures of stem cells on plates: diseased, treated and healthy, with a difference that is known.

Treatments lie on a line from the disease (DS) to the wild type (WT). Along it the mean of channel 0, mitochondria,
rises, and their network grows together from dots to filaments; channels 1 (nucleus) and 2 (actin) are alike in all.
Plates and wells differ in gain, background, illumination and focus, the rim of a plate most.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cellml.data import plates as layouts
from cellml.data import stem_cells
from cellml.errors import UserError

DISEASE, WILD = "DS", "WT"
TREATMENTS = {"TT": 0.6}
MEAN = 20.0  # of channel 0 of a diseased cell, in counts
CHUNK = 64  # images drawn at once; part of what a seed means
LIMITS = {
    "plates": (1, 1000),
    "wells": (1, 384),
    "cells": (1, 10_000),
    "size": (24, 512),
    "intensity": (-0.5, 1),
    "fragmentation": (-1, 1),
    "batch": (0, 3),
    "difficulty": (0, 1),
}


def write(
    folder: str | Path,
    *,
    plates: int = 4,
    wells: int = 4,
    cells: int = 20,
    seed: int = 0,
    size: int = 64,
    treatments: Mapping[str, float] | None = None,
    intensity: float = 0.3,
    fragmentation: float = 0.7,
    batch: float = 1.0,
    difficulty: float = 0.5,
) -> Path:
    """Write simulated images, masks and the table that lists them with what was planted.

    Args:
        folder: made if needed; gets `images/*.png` (mitochondria, nucleus, actin as RGB), `masks/*.png` (mitochondria)
            and `cells/*.png` (cells), both 0 or 255, and `table.csv`.
        plates: number of plates.
        wells: wells of a treatment on each plate.
        cells: images of a well, a cell in the middle of each.
        seed: the same seed and options give the same files.
        size: side of an image in pixels.
        treatments: name -> share of the way from DS to WT, 0 to 1; default: TT at 0.6. DS and WT are always there.
        intensity: by how much the mean of channel 0 of WT is above that of DS, 0.3 for 30 %.
        fragmentation: how much more of the network is fragmented in DS than in WT.
        batch: strength of the differences between plates and wells, 1 as the difficulty has them; 0: none.
        difficulty: 0 (classes apart) to 1 (noise, strong batch effects, cells of a class unlike each other).

    Returns:
        Path of `table.csv`, a row an image, with the columns file, mask, cell, plate, well, treatment; and what was
        planted: edge (0 or 1), response (where the cell is on the way from DS to WT), fragmentation (0 to 1),
        mitochondria (mean of channel 0 in counts without batch effects) and recorded (with them, without noise).

    Raises:
        UserError: an option out of range.
    """
    shares = _shares(treatments)
    _check(plates=plates, wells=wells, cells=cells, size=size, intensity=intensity, fragmentation=fragmentation,
           batch=batch, difficulty=difficulty)  # fmt: skip
    rng = np.random.default_rng([seed, 0])
    dealt = layouts.layout(list(shares), plates, wells, rng)
    look = layouts.looks(dealt, batch * (0.15 + 0.85 * difficulty), rng)
    well = np.repeat(np.arange(len(dealt)), cells)
    table = dealt.iloc[well].reset_index(drop=True)
    table["edge"] = table["edge"].astype(int)
    planted = _plant(table["treatment"].map(shares).to_numpy(float), intensity, fragmentation, difficulty, rng)
    table = table.assign(**planted)
    number = np.tile(np.arange(1, cells + 1), len(dealt))
    table["recorded"] = 0.0
    names = table["plate"] + "_" + table["well"] + "_" + [f"{n:0{len(str(cells))}d}.png" for n in number]
    for place, column in enumerate(("file", "mask", "cell")):
        table.insert(place, column, {"file": "images/", "mask": "masks/", "cell": "cells/"}[column] + names)
    folder = Path(folder)
    for name in ("images", "masks", "cells"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for start in range(0, len(table), CHUNK):
        rows = slice(start, min(start + CHUNK, len(table)))
        drawn = stem_cells.render(
            table["mitochondria"].to_numpy()[rows],
            table["fragmentation"].to_numpy()[rows],
            look[well[rows]],
            size=size,
            difficulty=difficulty,
            rng=np.random.default_rng([seed, 1, start]),
        )
        table.loc[table.index[rows], "recorded"] = drawn.recorded
        for column, pictures in (("file", drawn.images), ("mask", drawn.mitochondria), ("cell", drawn.cells)):
            for file, picture in zip(table[column][rows], pictures, strict=True):
                pixels = picture if picture.dtype == np.uint8 else picture.astype(np.uint8) * 255
                Image.fromarray(pixels).save(folder / file, compress_level=3)
    path = folder / "table.csv"
    table.round(4).to_csv(path, index=False)
    return path


def _plant(
    share: np.ndarray, intensity: float, fragmentation: float, difficulty: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """What the cells of treatments at (N,) shares of the way to the wild type are like, each (N,)."""
    response = share + (0.03 + 0.22 * difficulty) * rng.standard_normal(len(share))
    spread = 0.03 + 0.12 * difficulty
    factor = np.exp(rng.normal(-(spread**2) / 2, spread, len(share)))  # of mean 1
    broken = 0.5 + fragmentation * (0.5 - response) + 0.02 * rng.standard_normal(len(share))
    return {
        "response": response,
        "fragmentation": np.clip(broken, 0, 1),
        "mitochondria": MEAN * np.clip(1 + intensity * response, 0.3, None) * factor,
    }


def _shares(treatments: Mapping[str, float] | None) -> dict[str, float]:
    given = TREATMENTS if treatments is None else treatments
    for name, share in given.items():
        if name in (DISEASE, WILD):
            raise UserError(f"Expected further treatments in data.options.treatments, got {name!r}, which is always there")
        if not 0 <= share <= 1:
            raise UserError(f"Expected the share of treatment {name!r} between 0 (as DS) and 1 (as WT), got {share}")
    return {DISEASE: 0.0, **given, WILD: 1.0}


def _check(**options: float) -> None:
    for name, value in options.items():
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise UserError(f"Expected simulated cultures with {name} of {low} to {high}, got {value}; correct it")

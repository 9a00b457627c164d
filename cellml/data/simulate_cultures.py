"""Simulated cultures of stem cells on plates: diseased, treated and healthy, with a difference that is known.

Treatments lie on a line from the disease (DS) to the wild type (WT). Along it the mean of channel 0, mitochondria,
rises, and their network grows together from dots to filaments; channels 1 (nucleus) and 2 (actin) are alike in all.
Plates and wells differ in gain, background, illumination and focus, the rim of a plate most.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy.special import ndtri

from cellml.data import plates as layouts
from cellml.data import stem_cells
from cellml.errors import UserError

DISEASE, WILD = "DS", "WT"
TREATMENTS = {"TT": 0.5}
MEAN = 16.0  # of channel 0 of a diseased cell, in counts
CHUNK = 64  # images drawn at once; part of what a seed means
WHOLE = ("plates", "wells", "cells", "size")  # options that are whole numbers
LIMITS = {
    "plates": (1, 1000),
    "wells": (1, 384),
    "cells": (1, 10_000),
    "size": (24, 512),
    "intensity": (-0.3, 1),
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
    intensity: float = 0.36,
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
        treatments: name -> share of the way from DS to WT, 0 to 1; default: TT at 0.5. DS and WT are always there.
        intensity: by how much the mean of channel 0 of WT is above that of DS, 0.36 for 36 %.
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
    shares = line(treatments)
    _check(plates=plates, wells=wells, cells=cells, size=size, intensity=intensity, fragmentation=fragmentation,
           batch=batch, difficulty=difficulty)  # fmt: skip
    rng = np.random.default_rng([seed, 0])
    dealt = layouts.layout(list(shares), plates, wells, rng)
    look = layouts.looks(dealt, batch * (0.05 + 0.95 * difficulty), rng)
    well = np.repeat(np.arange(len(dealt)), cells)
    table = dealt.iloc[well].reset_index(drop=True)
    table["edge"] = table["edge"].astype(int)
    table = table.assign(**_plant(table["treatment"], shares, intensity, fragmentation, difficulty, rng))
    number = np.tile(np.arange(1, cells + 1), len(dealt))
    names = table["plate"] + "_" + table["well"] + "_" + [f"{n:0{len(str(cells))}d}.png" for n in number]
    for place, column in enumerate(("file", "mask", "cell")):
        table.insert(place, column, {"file": "images/", "mask": "masks/", "cell": "cells/"}[column] + names)
    folder = Path(folder)
    for name in ("images", "masks", "cells"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    table["recorded"] = np.concatenate(
        [
            _draw(
                folder,
                table[start : start + CHUNK],
                look[well[start : start + CHUNK]],
                size,
                difficulty,
                np.random.default_rng([seed, 1, start]),
            )
            for start in range(0, len(table), CHUNK)
        ]
    )
    path = folder / "table.csv"
    table.round(4).to_csv(path, index=False)
    return path


def line(treatments: Mapping[str, float] | None) -> dict[str, float]:
    """Every treatment's share of the way from DS to WT, in the order of the classes: DS, those given, WT.

    Raises:
        UserError: a name or a share that cannot be.
    """
    given = TREATMENTS if treatments is None else treatments
    if not isinstance(given, Mapping):
        raise UserError(f"Expected name: share in data.options.treatments, got {given!r}; write {{TT: 0.5}}, say")
    for name, share in given.items():
        if name in (DISEASE, WILD):
            raise UserError(
                f"Expected further treatments in data.options.treatments, got {name!r}, which is there always"
            )
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise UserError(
                f"Expected the share of treatment {name!r} between 0 (as DS) and 1 (as WT), got {share}; correct it"
            )
    return {DISEASE: 0.0, **given, WILD: 1.0}


def _draw(
    folder: Path, rows: pd.DataFrame, look: npt.NDArray[np.void], size: int, difficulty: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Write the pictures of rows; returns what the camera would record of their channel 0 without noise, (N,)."""
    mean, fragmentation = (rows[name].to_numpy() for name in ("mitochondria", "fragmentation"))
    drawn = stem_cells.render(mean, fragmentation, look, size=size, difficulty=difficulty, rng=rng)
    masks = (mask.astype(np.uint8) * 255 for mask in (drawn.mitochondria, drawn.cells))
    for files, pictures in zip((rows["file"], rows["mask"], rows["cell"]), (drawn.images, *masks), strict=True):
        for file, picture in zip(files, pictures, strict=True):
            Image.fromarray(picture).save(folder / file, compress_level=3)
    return drawn.recorded


def _plant(
    treatment: pd.Series,
    shares: Mapping[str, float],
    intensity: float,
    fragmentation: float,
    difficulty: float,
    rng: np.random.Generator,
) -> dict[str, npt.NDArray[np.float64]]:
    """What the cells of N treatments are like, each (N,)."""
    response = treatment.map(shares).to_numpy(float) + (0.02 + 0.13 * difficulty) * _normal(treatment, rng)
    spread = 0.02 + 0.1 * difficulty
    factor = np.exp(spread * _normal(treatment, rng) - spread**2 / 2)
    broken = 0.5 + fragmentation * (0.5 - response) + 0.02 * _normal(treatment, rng)
    return {
        "response": response,
        "fragmentation": np.clip(broken, 0, 1),
        "mitochondria": MEAN * (1 + intensity * response) * factor,
    }


def _normal(treatment: pd.Series, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Quantiles of the normal distribution, dealt out within each treatment, (N,), so that its mean is no chance."""
    values = np.empty(len(treatment))
    for rows in treatment.groupby(treatment, sort=False).indices.values():
        values[rng.permutation(rows)] = ndtri((np.arange(len(rows)) + 0.5) / len(rows))
    return values


def _check(**options: float) -> None:
    for name, value in options.items():
        low, high = LIMITS[name]
        kinds = int if name in WHOLE else int | float
        if not isinstance(value, kinds) or not low <= value <= high:
            raise UserError(f"Expected simulated cultures with {name} of {low} to {high}, got {value!r}; correct it")

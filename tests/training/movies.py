"""Movies of a disc that goes through three stages: small and dim, large and bright, small and bright; with its mask."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cellml.config import Data
from cellml.data import decode
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.data.problems import Rows
from cellml.data.report import Report
from cellml.data.sources import SOURCES

STAGES = ("before", "during", "after")
LOOKS = {"before": (0.25, 3.0), "during": (0.8, 5.0), "after": (0.8, 3.0)}  # brightness, radius
SOURCE = "test_discs"


def write(root: Path, count: int = 12, longest: int = 9, side: int = 24, seed: int = 0) -> pd.DataFrame:
    """Write frames and masks below a folder; sequences of 5 to `longest` frames, a table row a frame."""
    rng, rows = np.random.default_rng(seed), []
    y, x = np.mgrid[:side, :side]
    for k in range(count):
        name, (cy, cx) = f"cell{k:02}", rng.uniform(side / 2 - 2, side / 2 + 2, 2)
        (root / name).mkdir(parents=True, exist_ok=True)
        ends = np.sort(rng.choice(np.arange(1, 5), 2, replace=False))
        for frame in range(int(rng.integers(5, longest + 1))):
            stage = STAGES[int(np.searchsorted(ends, frame, side="right"))]
            cy, cx = np.array([cy, cx]) + rng.normal(0, 0.4, 2)
            brightness, radius = LOOKS[stage]
            disc = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
            image = (rng.normal(0.1, 0.03, (side, side)) + brightness * disc).clip(0, 1)
            file, mask = f"{name}/{frame:02}.png", f"{name}/{frame:02}_mask.png"
            Image.fromarray((image * 255).astype(np.uint8)).save(root / file)
            Image.fromarray((disc * 255).astype(np.uint8)).save(root / mask)
            split = "test" if k % 4 == 3 else "val" if k % 4 == 2 else "train"
            rows.append((file, file, stage, name, split, name, frame, mask))
    columns = ["id", "file", "label", "group", "split", "sequence", "frame", "mask"]
    return pd.DataFrame(rows, columns=columns)


def dataset(root: Path, cache: Path, **options: int) -> Dataset:
    """Such movies, decoded, in an order that is not that of time."""
    table = write(root, **options).sample(frac=1, random_state=0).reset_index(drop=True)
    decoded = decode.build(table, root, cache)
    table["row"], table["pixels"] = decoded.rows, decoded.hashes
    return Dataset(Manifest(table, STAGES), decoded.pixels, Report(), root)


def discs(data: Data, root: Path, cache_dir: Path) -> Rows:
    """Such movies as a source, for tests through the command line's functions."""
    return Rows(write(root), STAGES)


if SOURCE not in SOURCES:
    SOURCES.register(SOURCE)(discs)

"""A small field of discs that wander, one of which divides."""

import numpy as np
import pandas as pd
from skimage.draw import disk

from cellml.sequences.cells import Cells

SIZE, FRAMES = (90, 120), 12
STAGES = ("interphase", "prophase", "metaphase", "anaphase")


def centres():
    """Rows (track, frame, x, y, radius, parent): 1 and 2 wander for all frames, 3 divides into 4 and 5 at frame 6."""
    rows = []
    for t in range(FRAMES):
        rows += [("1", t, 20 + t, 20 + 0.5 * t, 8, ""), ("2", t, 100 - t, 70.0, 8, "")]
        if t < 6:
            rows.append(("3", t, 60.0, 40.0, 9, ""))
        else:
            away = 7 + 1.5 * (t - 6)
            rows += [("4", t, 60 - away, 40.0, 6, "3"), ("5", t, 60 + away, 40.0, 6, "3")]
    return pd.DataFrame(rows, columns=["track", "frame", "x", "y", "radius", "parent"])


def circle(x, y, radius, points=32):
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def cells(**columns):
    rows = centres().assign(**columns)
    return Cells.of(rows, [circle(r.x, r.y, r.radius) for r in rows.itertuples()])


def labels(by="order"):
    """Label images (T, H, W) uint16: numbers by track, or shuffled anew in every frame."""
    rng = np.random.default_rng(0)
    images = np.zeros((FRAMES, *SIZE), dtype=np.uint16)
    for t, rows in centres().groupby("frame"):
        numbers = rows["track"].astype(int).tolist() if by == "track" else rng.permutation(len(rows)) + 1
        for number, row in zip(numbers, rows.itertuples(), strict=True):
            at = disk((row.y - 0.5, row.x - 0.5), row.radius, shape=SIZE)
            images[t][at] = number
    return images


def frames():
    """Gray frames (T, H, W) uint8 of the discs."""
    noise = np.random.default_rng(1).integers(0, 20, (FRAMES, *SIZE))
    return (noise + 150 * (labels() > 0)).astype(np.uint8)

"""Tracks from ImageJ outlines named `<frame>-<cell>.roi`, and their masks as label images."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from skimage.draw import polygon

from cellml.data import cache, roi
from cellml.data.tracks import fields


def archive(root: Path) -> Path | None:
    """The folder or archive of outlines in a data folder, None where there is none."""
    inside = sorted(p for p in root.iterdir() if not p.name.startswith("."))
    archives = [p for p in inside if p.is_file() and p.name.lower().endswith(roi.ARCHIVES)]
    folders = [p for p in (root, *inside) if p.is_dir() and any(p.glob(f"*{roi.SUFFIX}"))]
    return next(iter([*archives, *folders]), None)


def read(root: Path, cache_dir: Path, movie: str) -> pd.DataFrame:
    """Tracks of the cells that are outlined in a movie; the centre is that of the outline's area.

    Returns:
        Columns movie, track, frame (from 0), x, y, parent (""), label (""), line (the outline's file), mask (a label
        image in the cache), mask_value.

    Raises:
        UserError: no outlines, or names that are not `<frame>-<cell>`.
    """
    path = archive(root) or root
    found = roi.read(path)
    numbers = roi.numbered(found, path.name)
    centres = np.array([roi.centroid(outline.points) for outline in found])
    table = pd.DataFrame({"track": [cell for _, cell in numbers], "frame": [frame for frame, _ in numbers]})
    table["x"], table["y"] = centres[:, 0], centres[:, 1]
    table["movie"], table["parent"], table["label"] = movie, "", ""
    table["line"] = [f"{outline.name}{roi.SUFFIX}" for outline in found]
    table[["track", "movie", "parent", "label"]] = table[["track", "movie", "parent", "label"]].astype(object)
    size = fields.field(root, movie).size
    folder = _masks(found, table, size, cache_dir)
    table["mask"] = [str(folder / f"{frame}.tif") for frame in table["frame"]]
    table["mask_value"] = table["track"].astype(int) + 1
    return table


def _masks(found: list[roi.Outline], table: pd.DataFrame, size: tuple[int, int], cache_dir: Path) -> Path:
    """Label images of the outlines, made once: a pixel is a cell's where its centre lies inside the outline."""
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    for outline in found:
        digest.update(outline.name.encode() + outline.points.tobytes())
    folder = cache_dir / "outlines" / digest.hexdigest()
    if folder.exists():
        return folder
    temporary = cache.temporary_beside(folder)
    try:
        for frame, rows in table.groupby("frame"):
            labels = np.zeros(size, dtype=np.uint16)
            for row, track in zip(rows.index, rows["track"], strict=True):
                x, y = found[row].points.T - 0.5
                labels[polygon(y, x, size)] = int(track) + 1
            tifffile.imwrite(temporary / f"{frame}.tif", labels, compression="zlib")
        cache.publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder

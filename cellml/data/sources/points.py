"""Points: the centres of cells in larger images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cellml.config import Data
from cellml.data.images import image_size
from cellml.data.manifest import BOX
from cellml.data.problems import Problem, Rows
from cellml.data.sources import columns, labels, paths
from cellml.data.sources.base import SOURCES, assemble
from cellml.errors import UserError


@SOURCES.register("points")
def points(data: Data, root: Path, cache_dir: Path, *, x: str = "x", y: str = "y") -> Rows:
    """A table of points in larger images, each cut out as a square window; the image is the group.

    The window of `data.window` pixels has the point in its middle; beyond the border the image's pixels repeat.
    Otherwise as the source `table`. The options x and y name the columns with the coordinates, in pixels.

    Raises:
        UserError: as `table`, or a coordinate that is no number.
    """
    path = columns.find(data.table, root)
    frame = columns.read(path)
    named = labels.from_table(frame, data, path.name)
    files = paths.files(frame, named.names, data.file, root, path.name)
    keep = named.names != ""
    centres = np.stack([_numbers(frame, x, path.name, "x"), _numbers(frame, y, path.name, "y")], axis=1)
    outside = keep & ~_inside(centres, files, keep, root)
    named = replace(named, names=np.where(outside, "", named.names))
    corner = np.floor(centres).astype(np.int64) - data.window // 2
    boxes = pd.DataFrame(np.concatenate([corner, corner + data.window], axis=1), columns=list(BOX))
    result = assemble(frame, files, named, data, root, where=path.name, group=files, boxes=boxes)
    if outside.any():
        shown = tuple(f"{f}#{cx:g},{cy:g}" for f, (cx, cy) in zip(files[outside], centres[outside], strict=True))
        text = f"{len(shown)} points of {path.name} lie outside their image and are left out ({shown[0]}, say)"
        result.problems.append(Problem("point outside", text, shown))
    return result


def _numbers(frame: pd.DataFrame, name: str, where: str, option: str) -> np.ndarray:
    texts = columns.column(frame, name, where, f"data.options.{option}")
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(f"Expected a number in column {name!r} of {where}, got {texts.iloc[row]!r} in row {row + 1}")
    return numbers


def _inside(centres: np.ndarray, files: np.ndarray, keep: np.ndarray, root: Path) -> np.ndarray:
    sizes = {file: image_size(root / file) for file in dict.fromkeys(files[keep])}
    found = [sizes.get(file) for file in files]
    high = np.array([(s[1], s[0]) if s else (np.inf, np.inf) for s in found])
    return np.all((centres >= 0) & (centres < high), axis=1)

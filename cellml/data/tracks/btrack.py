"""What btrack writes for napari: tracks.csv (ID, t, y, x), properties.csv (row by row), graph.json (child: parents)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from cellml.data.sources import columns
from cellml.errors import UserError

TRACKS, PROPERTIES, GRAPH = "tracks.csv", "properties.csv", "graph.json"


def read(folder: Path) -> pd.DataFrame:
    """Tracks with their parents and, where properties.csv has a column `state`, labels.

    Returns:
        Columns track, frame, x, y, parent, label, line.

    Raises:
        UserError: a file or column that is not there, or files that do not fit each other.
    """
    raw = columns.read(folder / TRACKS)
    numbers = {}
    for name in ("ID", "t", "y", "x"):
        texts = columns.column(raw, name, TRACKS, "data.options.format")
        numbers[name] = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
        if (wrong := ~np.isfinite(numbers[name])).any():
            row = int(wrong.argmax())
            raise UserError(f"Expected a number in column {name!r} of {TRACKS}, got {texts[row]!r} in line {row + 2}")
    table = pd.DataFrame({"track": numbers["ID"].astype(np.int64).astype(str).astype(object)})
    table["frame"], table["x"], table["y"] = numbers["t"].astype(np.int64), numbers["x"], numbers["y"]
    mother = _mothers(folder / GRAPH)
    table["parent"] = [mother.get(track, "") for track in table["track"]]
    table["label"], table["line"] = "", columns.lines(len(table))
    if (folder / PROPERTIES).is_file():
        more = columns.read(folder / PROPERTIES)
        if len(more) != len(table):
            raise UserError(f"Expected as many lines in {PROPERTIES} as in {TRACKS}, got {len(more)} and {len(table)}")
        table["label"] = more.get("state", "")
    return table


def _mothers(path: Path) -> dict[str, str]:
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
        found = {str(int(child)): str(int(parents[0])) for child, parents in graph.items() if parents}
        several = next((child for child, parents in graph.items() if len(parents) > 1), None)
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise UserError(f"Expected {{child: [parent]}} in {path}, cannot read it: {error}; export it again") from None
    if several is not None:
        raise UserError(f"Expected one parent of track {several} in {path.name}, found several; correct the merge")
    return found

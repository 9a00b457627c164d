"""Raw maps as a file that anything with numpy reads."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellml.errors import UserError
from cellml.explain.base import Attribution


def save_maps(path: str | Path, ids: npt.ArrayLike, attribution: Attribution) -> None:
    """Write maps as a compressed .npz without pickled objects.

    Its arrays: `ids` (N,) str, `maps` (N, H, W) float32, `classes` (N,) int64, `method` and, where they exist,
    `fallback`, `layer` (str), `convergence` (N,) float64 and `channels` (N, C, H, W) float32.

    Args:
        path: where; written under exactly this name.
        ids: (N,) image ids.
        attribution: the maps.

    Raises:
        ValueError: another number of ids than of maps.
    """
    names = np.asarray([str(name) for name in np.asarray(ids)], dtype=np.str_)
    if len(names) != len(attribution):
        raise ValueError(f"expected {len(attribution)} ids, got {len(names)}")
    arrays: dict[str, Any] = {
        "ids": names,
        "maps": attribution.maps,
        "classes": attribution.classes,
        "method": np.str_(attribution.method),
    }
    extras = {"fallback": attribution.fallback, "layer": attribution.layer}
    arrays |= {key: np.str_(value) for key, value in extras.items() if value is not None}
    figures = {"convergence": attribution.convergence, "channels": attribution.channels}
    arrays |= {key: value for key, value in figures.items() if value is not None}
    with Path(path).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_maps(path: str | Path) -> tuple[npt.NDArray[np.str_], Attribution]:
    """Read what `save_maps` wrote: (N,) ids and the maps.

    Raises:
        UserError: no such file, or another kind of file.
    """
    if not Path(path).is_file():
        raise UserError(f"Expected heatmaps, found no file at {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        text: dict[str, Any] = {key: str(arrays[key]) if key in arrays else None for key in ("fallback", "layer")}
        maps, classes = arrays["maps"], arrays["classes"]
        figures: dict[str, Any] = {key: arrays.get(key) for key in ("convergence", "channels")}
        return arrays["ids"], Attribution(maps, classes, str(arrays["method"]), **figures, **text)
    except (KeyError, ValueError, OSError):
        raise UserError(f"Expected heatmaps written by CellML (.npz), got another file: {path}") from None

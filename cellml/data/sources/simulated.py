"""Simulated cells, written once into the cache and then read as a table."""

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from cellml.config import Data
from cellml.data import cache, micrograph, nuclei, simulate
from cellml.data.problems import Rows
from cellml.data.sources.base import SOURCES
from cellml.data.sources.table import table
from cellml.errors import UserError


@SOURCES.register("simulated")
def simulated(
    data: Data,
    root: Path,
    cache_dir: Path,
    *,
    count: int = 600,
    seed: int = 0,
    size: int = 64,
    slides: int = 12,
    shares: Mapping[str, float] | None = None,
    difficulty: float = 0.5,
) -> Rows:
    """Fluorescent nuclei through the mitotic stages, made by the program; the slide is the group.

    The options are those of `cellml.data.simulate.write`.

    Raises:
        UserError: data.path is set, or an option is out of range.
    """
    options = {"count": count, "seed": seed, "size": size, "slides": slides, "shares": shares, "difficulty": difficulty}
    folder = made_once(data, cache_dir, simulate.write, options, (simulate, nuclei, micrograph))
    defaults = {
        "table": "table.csv",
        "label": "label",
        "group": "slide",
        "mask": "mask",
        "classes": list(nuclei.STAGES),
    }
    unset = {name: value for name, value in defaults.items() if getattr(data, name) is None}
    return replace(table(data.model_copy(update=unset), folder, cache_dir), root=folder)


def made_once(
    data: Data, cache_dir: Path, write: Callable[..., object], options: dict[str, Any], modules: Iterable[ModuleType]
) -> Path:
    """The folder in the cache that a simulator wrote with these options, or writes now.

    Args:
        data: names the source.
        cache_dir: where folders are kept.
        write: called with the folder and the options.
        options: of the simulator, all of them.
        modules: whose code decides what is written.

    Raises:
        UserError: data.path is set, or what `write` raises.
    """
    if data.path:
        raise UserError(
            f"Expected no data.path with data.source: {data.source}, which makes its images, got {data.path!r}"
        )
    code = "".join(inspect.getsource(module) for module in modules)
    key = hashlib.blake2b(json.dumps([options, code], default=dict).encode(), digest_size=16).hexdigest()
    folder = cache_dir / data.source / key
    if not folder.exists():
        temporary = cache.temporary_beside(folder)
        try:
            write(temporary, **options)
            cache.publish(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder

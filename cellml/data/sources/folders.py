"""Class folders."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cellml.config import Data
from cellml.data.images import SUFFIXES, files_below, natural
from cellml.data.problems import Problem, Rows
from cellml.data.sources import labels
from cellml.data.sources.base import SOURCES, assemble, refuse
from cellml.data.sources.published import NAMES
from cellml.errors import UserError


@SOURCES.register("folders")
def folders(data: Data, root: Path, cache_dir: Path, *, inside: Sequence[str] = ()) -> Rows:
    """Class folders, in the data folder or its `images`, with or without train, val and test folders above them.

    Images may lie deeper in a class folder; with `data.group: parent` the folders in between are the groups.
    data.split may name a second table, matched on `file`, `name`, `stem`, `parent` or `class`.

    Args:
        data: the experiment's data section.
        root: the data folder.
        cache_dir: not used.
        inside: folders of the data folder that hold the class folders, such as [HOMO, HETERO]; the data folder itself
            without.

    Raises:
        UserError: no class folders.
    """
    refuse(data, "table", "file", "label", "votes", "probabilities", "id")
    found: list[tuple[str, Path]] = []
    ignored: list[str] = []
    for base in [root / name for name in inside] or [root]:
        if not base.is_dir():
            raise UserError(f"Expected a folder {base.name} in {root}, found none; correct data.options.inside")
        more, loose = _class_folders(base)
        found, ignored = [*found, *more], [*ignored, *loose]
    rows = []
    for split, folder in found:
        for below in files_below(folder):
            parent, _, name = below.rpartition("/")
            file = (folder / below).relative_to(root).as_posix()
            rows.append((file, name, name.rpartition(".")[0], parent, folder.name, split))
    rows.sort(key=lambda row: natural(row[0]))
    frame = pd.DataFrame(rows, columns=["file", "name", "stem", "parent", "class", "split"], dtype=object)
    named = labels.from_values(frame["class"], data, str(root))
    result = assemble(frame, frame["file"], named, data, root, where=str(root), split=frame["split"])
    if ignored:
        text = f"Files that lie in no class folder are left out ({ignored[0]}, say)"
        result.problems.append(Problem("no class folder", text, tuple(ignored)))
    return result


def _class_folders(root: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    for base in (root, root / "images"):
        if not base.is_dir():
            continue
        below = _folders(base)
        named = [f for f in below if f.name.lower() in NAMES]
        if any(f.name.lower() in ("train", "training") for f in named):
            classes = [(NAMES[f.name.lower()], c) for f in named for c in _with_images(_folders(f))]
            loose = [f"{f.name}/{x}" for f in named for x in _loose(f)]
            loose += [f"{f.name}/" for f in _with_images(below) if f not in named]
        elif (
            base == root
            and [f.name for f in _with_images(below)] == ["images"]
            and _with_images(_folders(root / "images"))
        ):
            continue
        else:
            classes, loose = [("", c) for c in _with_images(below)], _loose(base)
        if classes:
            return classes, loose
    names = [f.name for f in _folders(root)][:10]
    raise UserError(
        f"Expected a folder of images for each class in {root} (or below its images, train, val, test folders), "
        f"found the folders {names} and {len(_loose(root))} loose images; sort the images into class folders, or use "
        "data.source: table"
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(
        (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=lambda p: natural(p.name)
    )


def _with_images(candidates: list[Path]) -> list[Path]:
    return [folder for folder in candidates if files_below(folder)]


def _loose(folder: Path) -> list[str]:
    return sorted((p.name for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(SUFFIXES)), key=natural)

"""Pseudo-movies: pictures of single cells dealt into sequences in the order of the cell cycle."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cellml.config import Data
from cellml.data.images import natural
from cellml.data.manifest import FRAME, SEQUENCE
from cellml.data.problems import Problem, Rows
from cellml.data.report import many
from cellml.data.sources import folders, labels
from cellml.data.sources.base import SOURCES, assemble, refuse
from cellml.errors import UserError

SPREAD = 6.0  # shape of the gamma distribution of durations: 40 % of the mean is its standard deviation


@SOURCES.register("pseudo_movies")
def pseudo_movies(
    data: Data,
    root: Path,
    cache_dir: Path,
    *,
    count: int = 120,
    frames: int = 40,
    durations: Mapping[str, float] | None = None,
    cyclic: bool = False,
    pools: int = 10,
    seed: int = 0,
) -> Rows:
    """Class folders of single cells, dealt into sequences in the order of data.classes with random durations.

    Cells are first divided into pools, all classes in each; a sequence takes its cells from one pool, and the pool is
    the group, so that no cell is in two splits. What a frame shows is real, but no two frames show the same cell
    growing older, and cells come again in other sequences of the pool. Of files with the same content one is dealt.

    Args:
        data: data.classes lists the classes in the order of the cell cycle.
        root: the data folder, with a folder of images for each class.
        cache_dir: not used.
        count: sequences.
        frames: of a sequence: with `cyclic` exactly, else on average.
        durations: class -> mean frames, in proportion; default: all alike.
        cyclic: sequences start anywhere in the cycle and go on from its end to its start; else each goes once through
            it, from the first class to the last.
        pools: groups of cells.
        seed: of the dealing.

    Raises:
        UserError: no order, an unknown class in `durations`, or a class with fewer images than pools.
    """
    refuse(data, "table", "file", "label", "votes", "probabilities", "id", "split", "mask")
    stock, problems = _stock(root, data)
    mean = _means(durations, list(stock), frames)
    if count < pools or pools < 1 or frames < len(mean):
        raise UserError(
            f"Expected a pool or more, a sequence or more for each ({pools}), and a frame or more for each class "
            f"({len(mean)}), got count {count} and frames {frames}; correct data.options"
        )
    if scarce := [name for name, files in stock.items() if len(files) < pools]:
        raise UserError(
            f"Expected an image or more of {scarce[0]!r} for each of {pools} pools, found {len(stock[scarce[0]])}; "
            "lower data.options.pools"
        )
    rng = np.random.default_rng(seed)
    decks = {
        name: np.array_split(rng.permutation(np.array(files, dtype=object)), pools) for name, files in stock.items()
    }
    parts = []
    for number in range(count):
        pool = number % pools
        names = _course(list(mean), mean, frames, cyclic, rng)
        files = np.empty(len(names), dtype=object)
        for name in dict.fromkeys(names):
            at = np.flatnonzero(np.array(names, dtype=object) == name)
            deck = decks[name][pool]
            files[at] = np.concatenate([rng.permutation(deck) for _ in range(-(-len(at) // len(deck)))])[: len(at)]
        part = pd.DataFrame({SEQUENCE: f"sequence {number + 1}", FRAME: np.arange(len(names))})
        parts.append(part.assign(file=files, label=names, pool=f"pool {pool + 1}"))
    table = pd.concat(parts, ignore_index=True)
    given = data.model_copy(update={"classes": list(stock)})
    named = labels.of_frames(table["label"].to_numpy(dtype=object), given, str(root), [str(root)] * len(table))
    texts = table[[SEQUENCE, "label", "pool"]].astype(object)
    rows = assemble(
        texts,
        table["file"],
        named,
        given,
        root,
        where=str(root),
        group=table["pool"],
        frames=table[[SEQUENCE, FRAME]],
    )
    return replace(rows, problems=[*rows.problems, *problems])


def _stock(root: Path, data: Data) -> tuple[dict[str, list[str]], list[Problem]]:
    """Files of each class in the order of data.classes, one of each content."""
    if data.classes is None:
        raise UserError("Expected the classes in the order of the cell cycle in data.classes, got none; list them")
    table = folders.folders(data.model_copy(update={"unlisted": "drop", "group": None}), root, root).table
    seen: set[bytes] = set()
    copies: list[str] = []
    stock: dict[str, list[str]] = {}
    order = list(dict.fromkeys(data.classes.values() if isinstance(data.classes, dict) else data.classes))
    for name in order:
        stock[name] = []
        for file in sorted(table["file"][table["label"] == name], key=natural):
            digest = hashlib.blake2b((root / file).read_bytes(), digest_size=16).digest()
            (copies if digest in seen else stock[name]).append(file)
            seen.add(digest)
    text = f"{many(len(copies), 'image')} with the content of another, left out"
    return stock, [Problem("identical images", text, tuple(copies))] if copies else []


def _means(durations: Mapping[str, float] | None, classes: list[str], frames: int) -> dict[str, float]:
    """Class -> mean frames; they sum to `frames`."""
    given = dict(durations or {})
    if strange := [name for name in given if name not in classes]:
        raise UserError(f"Expected durations of the classes {classes} in data.options, got {strange[0]!r}; correct it")
    if wrong := [name for name, value in given.items() if not value > 0]:
        raise UserError(
            f"Expected durations above 0 in data.options, got {given[wrong[0]]} of {wrong[0]!r}; correct it"
        )
    usual = float(np.mean(list(given.values()))) if given else 1.0
    shares = {name: float(given.get(name, usual)) for name in classes}
    return {name: share / sum(shares.values()) * frames for name, share in shares.items()}


def _course(
    classes: list[str], mean: dict[str, float], frames: int, cyclic: bool, rng: np.random.Generator
) -> list[str]:
    """Class of each frame of one sequence."""
    if not cyclic:
        return [name for name in classes for _ in range(_length(mean[name], rng))]
    at = int(rng.choice(len(classes), p=np.array([mean[name] for name in classes]) / sum(mean.values())))
    names = [classes[at]] * int(rng.integers(1, _length(mean[classes[at]], rng) + 1))
    while len(names) < frames:
        at = (at + 1) % len(classes)
        names += [classes[at]] * _length(mean[classes[at]], rng)
    return names[:frames]


def _length(mean: float, rng: np.random.Generator) -> int:
    return max(1, round(rng.gamma(SPREAD, mean / SPREAD)))

"""Wells of known mixture, made from pure cells: a trial of composition estimates where every cell's class is known."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cellml.config import Data
from cellml.data.images import natural
from cellml.data.problems import Rows
from cellml.data.sources import folders, labels
from cellml.data.sources.base import SOURCES, assemble, refuse
from cellml.errors import UserError

Row = tuple[str, str, str, str]  # file, label or mixture, well, split


@SOURCES.register("wells")
def wells(
    data: Data,
    root: Path,
    cache_dir: Path,
    *,
    pure: int = 300,
    cells: int = 48,
    replicates: int = 3,
    ratios: Sequence[str] = ("1:2", "2:1", "1:3", "3:1"),
    pairs: Sequence[Sequence[str]] = (),
    test: float = 0.2,
    seed: int = 0,
) -> Rows:
    """Class folders of pure cells, dealt into pure wells and into mixed wells of every pair of classes.

    No cell is in two wells. A mixed well's images get its ratio as their soft label; which of them is of which class
    is withheld, as in a real co-culture. The well is the group.

    Args:
        data: data.classes names the classes to take.
        root: the data folder, with a folder of images for each class.
        cache_dir: not used.
        pure: images a class in pure wells.
        cells: images a well.
        replicates: wells a mixture.
        ratios: of the two classes of each pair.
        pairs: classes that are mixed, [[A, B], ...]; every pair without.
        test: share of a class's pure wells, and of a mixture's wells, that are test wells; at least one of each.
        seed: of the dealing.

    Raises:
        UserError: not enough images, or a ratio that is none.
    """
    refuse(data, "table", "file", "label", "votes", "probabilities", "id", "group", "split", "mask")
    stock = _stock(root, data, seed)
    rows: list[Row] = []
    for name in stock:
        drawn = _take(stock, name, pure, "pure wells")
        plates = [drawn[i : i + cells] for i in range(0, len(drawn), cells)]
        rows += _placed(name, plates, test)
    mixtures = {}
    for (a, b), ratio in itertools.product(_pairs(pairs, stock) or itertools.combinations(stock, 2), ratios):
        left, right = _ratio(ratio)
        label = f"{a}:{b} {left}:{right}"
        mixtures[label] = {a: float(left), b: float(right)}
        first = round(cells * left / (left + right))
        plates = [_take(stock, a, first, label) + _take(stock, b, cells - first, label) for _ in range(replicates)]
        rows += _placed(label, plates, test)
    frame = pd.DataFrame(rows, columns=["file", "label", "well", "split"], dtype=object)
    known = data.model_copy(update={"mixtures": mixtures, "classes": data.classes or list(stock)})
    named = labels.from_values(frame["label"], known, str(root))
    return assemble(
        frame, frame["file"], named, known, root, where=str(root), group=frame["well"], split=frame["split"]
    )


def _stock(root: Path, data: Data, seed: int) -> dict[str, list[str]]:
    """Shuffled files of each class, in class order."""
    table = folders.folders(data.model_copy(update={"unlisted": "drop"}), root, root).table
    rng = np.random.default_rng(seed)
    classes = list(dict.fromkeys(sorted(table["label"], key=natural)))
    if isinstance(data.classes, list):
        classes = [name for name in data.classes if name in set(classes)]
    return {name: list(rng.permutation(sorted(table["file"][table["label"] == name], key=natural))) for name in classes}


def _pairs(pairs: Sequence[Sequence[str]], stock: dict[str, list[str]]) -> list[Sequence[str]]:
    """The pairs in class order."""
    order = list(stock)
    for pair in pairs:
        if len(pair) != 2 or len(set(pair)) != 2 or not set(pair) <= set(stock):
            raise UserError(f"Expected two of the classes {order} in data.options.pairs, got {pair!r}; correct it")
    return [sorted(pair, key=order.index) for pair in pairs]


def _take(stock: dict[str, list[str]], name: str, count: int, what: str) -> list[str]:
    if len(stock[name]) < count:
        raise UserError(
            f"Expected {count} more images of {name!r} for {what}, found {len(stock[name])} not dealt out yet; "
            "lower data.options pure, cells or replicates"
        )
    taken, stock[name] = stock[name][:count], stock[name][count:]
    return taken


def _placed(label: str, plates: list[list[str]], test: float) -> list[Row]:
    held = min(len(plates) - 1, max(1, math.ceil(test * len(plates) - 1e-9))) if test > 0 else 0
    return [
        (file, label, f"{label} {place + 1}", "test" if place < held else "train")
        for place, plate in enumerate(plates)
        for file in plate
    ]


def _ratio(text: str) -> tuple[int, int]:
    left, colon, right = str(text).partition(":")
    if not (colon and left.isdigit() and right.isdigit() and int(left) and int(right)):
        raise UserError(f"Expected ratios such as '1:2' in data.options, got {text!r}; write them in quotes")
    divisor = math.gcd(int(left), int(right))
    return int(left) // divisor, int(right) // divisor

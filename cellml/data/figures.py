"""Pictures of a data set: a contact sheet a class and the balance of the classes."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from cellml.data import display
from cellml.data.manifest import SPLITS, Manifest

COLUMNS, ROWS = 8, 6
TILE, GAP, CAPTION, TITLE, DPI = 112, 4, 14, 28, 112  # pixels
SPLIT_COLOURS = {"train": "#3b6ea8", "val": "#e0a030", "test": "#b04a4a", "": "#777777"}
ID_LENGTH = 19  # characters under an image
SAMPLE = 64  # images that decide how raw values map to brightness


class Pixels(Protocol):
    """Images by position, such as the pixel cache."""

    def __getitem__(self, row: int) -> npt.NDArray:
        """The (H, W, C) image at a position."""


class Pictured(Protocol):
    """A manifest with its pixels."""

    @property
    def manifest(self) -> Manifest:
        """The rows."""

    @property
    def pixels(self) -> Pixels:
        """What their `row` column points into."""


def contact_sheets(dataset: Pictured, *, columns: int = COLUMNS, rows: int = ROWS) -> dict[str, Figure]:
    """A sheet of images for each class, spread evenly over its ids in alphabetical order.

    Args:
        dataset: manifest and pixels.
        columns: images beside each other.
        rows: at most so many below each other.

    Returns:
        Class name -> figure. Images share one brightness scale, so that they can be compared.
    """
    manifest = dataset.manifest
    scale = _scale(manifest, dataset.pixels)
    return {name: _sheet(dataset, name, scale, columns, rows) for name in manifest.classes}


def class_balance(manifest: Manifest) -> Figure:
    """Bars of the number of images of each class, stacked by split, on a figure of its own."""
    parts = {s: manifest.split(s).counts for s in (*SPLITS, "") if (manifest.table["split"] == s).any()}
    names = list(manifest.classes)
    figure = Figure(figsize=(7, 1.2 + 0.4 * len(names)), layout="constrained", dpi=110)
    axes = figure.subplots()
    left = np.zeros(len(names))
    for split, counts in parts.items():
        values = np.array([counts[name] for name in names])
        axes.barh(names, values, left=left, color=SPLIT_COLOURS[split], label=split or "not split", height=0.7)
        left += values
    for y, total in enumerate(left):
        shown = ", ".join(f"{counts[names[y]]:,}" for counts in parts.values())
        axes.annotate(f"{int(total):,} ({shown})", (total, y), (4, 0), textcoords="offset points", va="center", size=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, left.max(initial=0)) * 1.3)
    axes.set_xlabel(f"images; in brackets {', '.join(s or 'not split' for s in parts)}")
    axes.set_title(f"{len(manifest):,} images, {len(names)} classes", loc="left", size=10)
    axes.spines[["top", "right"]].set_visible(False)
    if len(parts) > 1:
        figure.legend(loc="outside upper right", ncols=len(parts), frameon=False, fontsize=8)
    return figure


def synthetic(strips: Sequence[tuple[str, Sequence[npt.NDArray]]], columns: int = 3) -> Figure:
    """Made-up training images beside what they were made of.

    Args:
        strips: a caption and images (H, W, C) a strip, one size and type throughout.
        columns: strips beside each other.
    """
    wide = max(len(images) for _, images in strips)
    lines = -(-len(strips) // columns)
    block = wide * (TILE + GAP) + 4 * GAP
    mosaic = np.full((lines * (TILE + CAPTION), columns * block, 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(mosaic.shape[1] / DPI, mosaic.shape[0] / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    values = np.concatenate([np.stack(images) for _, images in strips])
    low, high = _range(values.reshape(-1, values.shape[-1])) if values.dtype != np.uint8 else (None, None)
    for place, (caption, images) in enumerate(strips):
        y, left = place // columns * (TILE + CAPTION), place % columns * block
        for k, image in enumerate(images):
            x = left + k * (TILE + GAP)
            mosaic[y : y + TILE, x : x + TILE] = _fitted(display.to_rgb(image, low, high))
        axes.text(left, y + TILE + 2, caption, size=6.5, va="top", parse_math=False)
    axes.imshow(mosaic, interpolation="nearest")
    axes.axis("off")
    return figure


def _sheet(
    dataset: Pictured, name: str, scale: tuple[npt.NDArray, npt.NDArray] | None, columns: int, rows: int
) -> Figure:
    manifest = dataset.manifest
    part = manifest.where((manifest.table["label"] == name).to_numpy() & ~manifest.mixed)
    order = np.argsort(part.ids.astype(str), kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), columns * rows)).round().astype(int))]
    lines = max(1, -(-len(chosen) // columns))
    mosaic = np.full((lines * (TILE + CAPTION), columns * (TILE + GAP), 3), 255, dtype=np.uint8)
    top = TITLE / (mosaic.shape[0] + TITLE)
    figure = Figure(figsize=(mosaic.shape[1] / DPI, (mosaic.shape[0] + TITLE) / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1 - top))
    ids, splits, pixels_of = part.ids, part.table["split"].to_numpy(), part.rows
    low, high = scale or (None, None)
    for place, row in enumerate(chosen):
        y, x = place // columns * (TILE + CAPTION), place % columns * (TILE + GAP)
        tile = _fitted(display.to_rgb(dataset.pixels[int(pixels_of[row])], low, high))
        mosaic[y : y + TILE, x : x + TILE] = tile
        colour = SPLIT_COLOURS[splits[row]]
        axes.text(x, y + TILE + 2, _short(str(ids[row])), size=5, va="top", color=colour, parse_math=False)
    axes.imshow(mosaic, interpolation="nearest")
    axes.axis("off")
    title = f"{name}: {len(chosen):,} of {len(part):,} images"
    figure.text(0.005, 1 - top / 2, title, size=10, va="center", parse_math=False)
    present = [split for split in SPLITS if (splits == split).any()]
    for place, split in enumerate(reversed(present)):
        text = f"{split} {(splits == split).sum():,}"
        figure.text(0.99 - 0.1 * place, 1 - top / 2, text, size=8, va="center", ha="right", color=SPLIT_COLOURS[split])
    return figure


def _fitted(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    factor = TILE / max(height, width)
    shape = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.BICUBIC
    small = np.asarray(Image.fromarray(image).resize(shape, method))
    tile = np.full((TILE, TILE, 3), 255, dtype=np.uint8)
    y, x = (TILE - small.shape[0]) // 2, (TILE - small.shape[1]) // 2
    tile[y : y + small.shape[0], x : x + small.shape[1]] = small
    return tile


def _scale(manifest: Manifest, pixels: Pixels) -> tuple[npt.NDArray, npt.NDArray] | None:
    if not len(manifest):
        return None
    sample = np.unique(np.linspace(0, len(manifest) - 1, min(len(manifest), SAMPLE)).round().astype(int))
    images = [pixels[int(manifest.rows[i])] for i in sample]
    channels = images[0].shape[2]
    if images[0].dtype == np.uint8 and channels <= 3:
        return None
    values = np.concatenate([image.reshape(-1, channels) for image in images])
    return _range(values)


def _range(values: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """What becomes black and white of (N, C) values, per channel."""
    low, high = np.percentile(values, display.PERCENTILES, axis=0)
    return low, high


def _short(name: str) -> str:
    name = name.rpartition("/")[2]
    if len(name) <= ID_LENGTH:
        return name
    file, box, _ = name.partition("#")
    if box and len(file.rpartition(".")[0] or file) <= ID_LENGTH - 2:
        return f"{file.rpartition('.')[0] or file}#…"
    return f"{name[: ID_LENGTH // 2]}…{name[-(ID_LENGTH // 2 - 1) :]}"

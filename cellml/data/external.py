"""External test sets: images of another source, all of them for testing, without copies and contradictions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.config import Data
from cellml.data import duplicates
from cellml.data.cache import PixelCache
from cellml.data.manifest import SOFT, Manifest
from cellml.data.prepare import SELF_MADE, Dataset, read
from cellml.data.report import many
from cellml.errors import UserError, near

TRAINED = ("train", "val")


@dataclass(frozen=True)
class External:
    """A test set beside the experiment's own.

    Attributes:
        name: as in `compare.external`.
        manifest: its N rows to be scored, split "test", with the classes of the experiment's own data.
        pixels: where the rows' images are.
        left_out: why images do not count -> how many.
        notes: what a reader must know, a sentence each.
    """

    name: str
    manifest: Manifest
    pixels: PixelCache
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """What counts and what does not, a line a fact."""
        each = ", ".join(f"{name} {count:,}" for name, count in self.manifest.counts.items())
        yield f"{many(len(self.manifest), 'image')} ({each}), digest {self.manifest.digest}"
        yield from (f"{many(count, 'image')} left out: {reason}" for reason, count in self.left_out.items())
        yield from self.notes


def given(sets: Mapping[str, Data]) -> dict[str, Data]:
    """The sets whose images are known: those with a path, or that need none."""
    return {name: data for name, data in sets.items() if data.path or data.source in SELF_MADE}


def placed(sets: Mapping[str, Data], folders: list[str]) -> dict[str, Data]:
    """Sets with the given folders as their paths.

    A folder belongs to the set of its name; where there is one set and one folder, to that one; else it is a new set of
    class folders.

    Args:
        sets: `compare.external`.
        folders: paths or s3:// prefixes.

    Raises:
        UserError: two folders of one name.
    """
    found = dict(sets)
    names = [folder.rstrip("/").rpartition("/")[2] for folder in folders]
    if len(names) == len(sets) == 1 and names[0] not in sets:
        names = list(sets)
    for name, folder in zip(names, folders, strict=True):
        if names.count(name) > 1:
            raise UserError(f"Expected folders of different names in data, got {name!r} twice; name them in the file")
        found[name] = found.get(name, Data()).model_copy(update={"path": folder})
    return found


def prepare(name: str, data: Data, own: Dataset, cache_dir: Path | None = None, progress: bool = False) -> External:
    """Read an external test set and leave out what would make its scores wrong.

    All its rows count, or its test rows where the source names splits. Left out are images that stand in several
    classes, that are identical to training or validation images, and further copies of an image.

    Args:
        name: of the set.
        data: where its images are and what their rows mean.
        own: the experiment's own data.
        cache_dir: as of `cellml.data.prepare.prepare`.
        progress: show progress bars.

    Raises:
        UserError: see `read`; also classes that are not the experiment's, or another kind of images; it names the set.
    """
    try:
        whole = read(data.model_copy(update={"partial": True}), cache_dir, progress)
        classes = _classes(data, whole.manifest.classes, own.manifest.classes)
        _check_kind(whole.pixels, own.pixels)
        rows = _test_rows(whole.manifest, classes)
        seen = own.manifest.split(*TRAINED)
        kept, left_out = _distinct(rows, set(seen.table["pixels"]))
        if not len(kept):
            raise UserError(f"Expected images to score, none of {len(rows)} is left: {'; '.join(left_out)}")
    except UserError as error:
        raise UserError(f"compare.external.{name}: {error}") from None
    notes = [*(p.message for p in whole.report.problems), *_notes(kept, whole.pixels, own)]
    return External(name, kept, whole.pixels, left_out, tuple(notes))


def _classes(data: Data, found: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """The experiment's classes, of which a set with a mapping may have a part."""
    strange = [name for name in found if name not in known]
    if strange:
        hint = near(strange[0], known)
        raise UserError(
            f"Expected the classes {list(known)}, got {list(found)}: {strange[0]!r} is none of them, {hint}; map the "
            "set's own labels with classes: {its label: class}, and set unlisted: drop to leave others out"
        )
    if data.classes is None and set(found) != set(known):
        raise UserError(f"Expected the classes {list(known)}, got {list(found)}; list in classes those that are meant")
    return known


def _check_kind(pixels: PixelCache, own: PixelCache) -> None:
    if (pixels.dtype, pixels.channels) != (own.dtype, own.channels):
        raise UserError(
            f"Expected {own.channels}-channel {own.dtype} images as in training, got {pixels.channels}-channel "
            f"{pixels.dtype} ones; convert them, or set channels"
        )


def _test_rows(whole: Manifest, classes: tuple[str, ...]) -> Manifest:
    table = whole.table.copy()
    if (table["split"] != "").any():
        table = table[table["split"] == "test"].reset_index(drop=True)
        if not len(table):
            raise UserError("Expected test rows where the data names splits, found none; correct split, or remove it")
    table["split"] = "test"
    if any(str(column).startswith(SOFT) for column in table):
        table = table.assign(**{SOFT + name: 0.0 for name in classes if SOFT + name not in table})
    return Manifest(table, classes)


def _distinct(rows: Manifest, seen: set[str]) -> tuple[Manifest, dict[str, int]]:
    """Rows each of whose images stands once, in one class, and in no training row; how many others for what reason."""
    pixels = rows.table["pixels"]
    torn = (pd.Series(rows.strata).groupby(pixels).transform("nunique") > 1).to_numpy()
    trained = pixels.isin(seen).to_numpy() & ~torn
    again = pixels.duplicated().to_numpy() & ~torn & ~trained
    counted = {
        "in more than one class, so that its label is unknown": torn,
        "identical to a training or validation image": trained,
        "identical to another image of the set, which is kept once": again,
    }
    left_out = {reason: int(which.sum()) for reason, which in counted.items() if which.any()}
    return rows.where(~(torn | trained | again)), left_out


def _notes(rows: Manifest, pixels: PixelCache, own: Dataset) -> Iterator[str]:
    sides, trained = _sides(rows, pixels), _sides(own.manifest.split(*TRAINED), own.pixels)
    usual = int(np.median(sides))
    if not trained.min() <= usual <= trained.max():
        yield (
            f"Its images are {usual} pixels a side, training images {_range(trained)}: models resize them as always, "
            "whether a cell is as large in both is unknown"
        )
    if absent := [name for name, count in rows.counts.items() if not count]:
        yield f"It has no image of class {', '.join(absent)}: means leave it out"
    shared = int(rows.table["pixels"].isin(set(own.manifest.split("test").table["pixels"])).sum())
    if shared:
        yield f"Also among the experiment's own test images: {many(shared, 'image')}"
    if alike := _similar(rows, pixels, own):
        yield (
            f"The same picture as a training or validation image, turned, flipped or re-encoded: {many(alike, 'image')}"
            ", which count all the same; scores may be too good"
        )
    if len(set(rows.groups)) == len(rows):
        yield "No groups are known: its intervals are of resampled images, too narrow where some are of one patient"


def _similar(rows: Manifest, pixels: PixelCache, own: Dataset) -> int:
    """How many rows are near-duplicates of training or validation images."""
    seen = own.manifest.split(*TRAINED)
    where = [(pixels, int(row)) for row in rows.rows] + [(own.pixels, int(row)) for row in seen.rows]
    gray, _ = duplicates.summarise(lambda i: where[i][0][where[i][1]], len(where))
    pairs = duplicates.near_duplicates(gray, np.array(["external"] * len(rows) + ["seen"] * len(seen)))
    return len({pair.first for pair in pairs})


def _sides(rows: Manifest, pixels: PixelCache) -> npt.NDArray[np.int64]:
    return pixels.shapes[rows.rows][:, :2].max(axis=1)


def _range(sides: npt.NDArray[np.int64]) -> str:
    low, high = int(sides.min()), int(sides.max())
    return str(low) if low == high else f"{low} to {high}"

"""From an experiment's data section to a manifest with splits, its pixels and a report."""

import hashlib
import inspect
import json
import os
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console

from cellml.config import Data, Experiment, Split
from cellml.data import cache, checks, decode, duplicates, report, splits, store
from cellml.data.cache import PixelCache
from cellml.data.decode import Decoded
from cellml.data.manifest import (
    AUXILIARY,
    BOX,
    FRAME,
    KEPT,
    MASK_VALUE,
    MIXTURE,
    PAGE,
    PARENT,
    SEQUENCE,
    SOFT,
    TRANSCRIPT,
    VOTES,
    Manifest,
    strata,
)
from cellml.data.problems import Problem, Rows
from cellml.data.report import Report
from cellml.data.sources import SOURCES, base
from cellml.data.tracks import lineage
from cellml.errors import UserError

SELF_MADE = ("simulated", "simulated_cultures", "simulated_movies")  # sources that need no data folder


@dataclass(frozen=True)
class Dataset:
    """What everything after reading data works on.

    `manifest` has a split for each row, and only rows whose pixels could be decoded; `row` points into `pixels`, files
    are relative to `root`; `channels` are those kept of each file, None for all.
    """

    manifest: Manifest
    pixels: PixelCache
    report: Report
    root: Path = Path()
    channels: tuple[int, ...] | None = None


def prepare(experiment: Experiment, cache_dir: Path | None = None, progress: bool = False) -> Dataset:
    """Read, decode, split and check the data of an experiment.

    Args:
        experiment: its `data` and `split` sections count.
        cache_dir: where fetched files and decoded pixels are kept; default: the environment's CELLML_CACHE, else
            .cellml-cache in the working folder.
        progress: show progress bars.

    Raises:
        UserError: see the source; also a bad image with data.on_bad_image: error, a class without a readable image,
            no training rows, or too few groups to split.
    """
    whole = read(experiment.data, cache_dir, progress)
    names, problems = assign(whole.manifest.table, experiment.split)
    manifest = whole.manifest.with_column("split", names)
    found = _checked(manifest, whole.pixels, progress)
    everything = [*whole.report.problems, *problems, *found.problems]
    return replace(whole, manifest=manifest, report=replace(found, problems=everything))


def read(data: Data, cache_dir: Path | None = None, progress: bool = False) -> Dataset:
    """Read and decode data: splits as the source names them ("" for none), and nothing checked but reading.

    Args:
        data: where the images are and what their rows mean.
        cache_dir: as of `prepare`.
        progress: show progress bars.

    Raises:
        UserError: see the source; also a bad image with `on_bad_image: error`, a class without a readable image, or a
            sequence with frames of different sizes.
    """
    cache_dir = cache.folder(cache_dir)
    rows = listed(data, cache_dir, progress)
    assert rows.root is not None
    decoded = decode.build(rows.table, rows.root, cache_dir, data.channels, progress)
    if data.on_bad_image == "error" and decoded.problems:
        bad = decoded.problems[0]
        total = sum(len(p.ids) for p in decoded.problems)
        raise UserError(f"{bad.message} ({total} bad images in all); mend it, or set data.on_bad_image: skip")
    kept = None if data.channels is None else tuple(data.channels)
    table = _decoded_rows(rows, decoded, data.partial)
    _check_sizes(table, decoded.pixels)
    report = Report(problems=[*rows.problems, *decoded.problems, *_incomplete(rows.table, table)])
    return Dataset(Manifest(table, rows.classes), decoded.pixels, report, rows.root, kept)


def assign(table: pd.DataFrame, split: Split) -> tuple[npt.NDArray[np.object_], list[Problem]]:
    """A split for each row: those that the source names stay, the others are drawn, no group divided.

    Where the source names no test rows, `split.test` of all rows are drawn, from those without a split if there are
    any, else from the training rows. Where it names no validation rows, `split.validation` of the training rows are
    drawn. Copies of an image, and mother and daughter cells of movies, are kept together as a group is. The draw
    depends on the ids, not on the rows' order.

    Returns:
        (N,) "train", "val" or "test", and problems.

    Raises:
        UserError: no training rows, or too few groups.
    """
    order = np.argsort(table["id"].to_numpy(dtype=str), kind="stable")
    labels, groups = strata(table)[order], splits.joined(_families(table), table["pixels"])[order]
    names = table["split"].to_numpy(dtype=object)[order]
    problems = []
    if "test" not in names and split.test > 0:
        pool = names == "" if (names == "").any() else names == "train"
        if (names != "").any():
            text = "The data names splits but no test rows: they are drawn from the others"
            problems.append(Problem("no test split", text))
        share = split.test * len(names) / max(1, pool.sum())
        if share >= 1:
            raise UserError(
                f"Expected {split.test:.0%} of the rows for testing, only {pool.mean():.0%} can be; lower split.test"
            )
        names[_drawn(pool, labels, groups, share, split.seed)] = "test"
    names[names == ""] = "train"
    if "train" not in names:
        raise UserError(f"Expected training rows, found only {sorted(set(names))}; correct data.split")
    if "val" not in names:
        names[_drawn(names == "train", labels, groups, split.validation, split.seed + 1)] = "val"
    back = np.empty_like(names)
    back[order] = names
    return back, problems


def listed(data: Data, cache_dir: Path | None = None, progress: bool = False) -> Rows:
    """What `read` reads, before any image is decoded; arguments as there.

    Raises:
        UserError: see the source; also no data folder.
    """
    cache_dir = cache.folder(cache_dir)
    source, options = SOURCES[data.source], SOURCES.options(data.source, data.options)
    if data.source in SELF_MADE:
        return source(data, cache_dir, cache_dir, **options)
    if not data.path:
        raise UserError("Expected a folder of images in data.path, found none; set it, or give -P data=FOLDER")
    root = store.fetch(data.path, cache_dir, progress)
    return replace(source(data, root, cache_dir, **options), root=root)


def _decoded_rows(rows: Rows, decoded: Decoded, partial: bool) -> pd.DataFrame:
    table = rows.table.copy()
    table["row"], table["pixels"] = decoded.rows, decoded.hashes
    lost = table["row"] < 0
    if SEQUENCE in table:
        lost = table[SEQUENCE].isin(set(table[SEQUENCE][lost]))
    table = table[~lost].reset_index(drop=True)
    left = base.stages(table)
    gone = [name for name in rows.classes if name not in left]
    if gone and left and not partial:
        raise UserError(
            f"Expected readable images of class {gone[0]!r}, found none: {decoded.problems[0].message}; mend them"
        )
    optional = [
        c for c in (*BOX, PAGE, "mask", MASK_VALUE, MIXTURE, SEQUENCE, FRAME, PARENT, TRANSCRIPT) if c in table
    ] + [c for c in table if str(c).startswith((SOFT, VOTES, AUXILIARY, KEPT))]
    return table[["id", "file", "label", "group", "split", "pixels", "row", *optional]]


def _check_sizes(table: pd.DataFrame, pixels: PixelCache) -> None:
    """Refuse sequences whose frames differ in size."""
    if SEQUENCE not in table:
        return
    shapes = pixels.shapes[table["row"].to_numpy(dtype=np.int64), :2]
    first = table.groupby(SEQUENCE, sort=False)["row"].transform("first").to_numpy(dtype=np.int64)
    usual = pixels.shapes[first, :2]
    if not (odd := (shapes != usual).any(axis=1)).any():
        return
    at = int(odd.argmax())
    one = table["file"][(table["row"] == first[at]).idxmax()]
    raise UserError(
        f"Expected the frames of {table[SEQUENCE][at]} of one size, found {usual[at, 0]} x {usual[at, 1]} pixels in "
        f"{one} and {shapes[at, 0]} x {shapes[at, 1]} in {table['file'][at]}; crop or resize them alike"
    )


def _families(table: pd.DataFrame) -> npt.ArrayLike:
    """Group of each row; of frames, one that mother and daughters share."""
    if SEQUENCE not in table:
        return table["group"]
    return lineage.families(table[SEQUENCE], table.get(PARENT, table[SEQUENCE]), table["group"])


def _incomplete(before: pd.DataFrame, after: pd.DataFrame) -> list[Problem]:
    """Sequences that are left out whole because one of their frames could not be read."""
    if SEQUENCE not in before or len(before) == len(after):
        return []
    lost = tuple(sorted(set(before[SEQUENCE]) - set(after[SEQUENCE])))
    text = f"{report.many(len(lost), 'sequence')} left out, since a frame cannot be read ({lost[0]}, say)"
    return [Problem("incomplete sequence", text, lost)]


def _drawn(
    pool: npt.NDArray[np.bool_], labels: npt.NDArray, groups: npt.NDArray, share: float, seed: int
) -> npt.NDArray[np.int64]:
    return np.flatnonzero(pool)[splits.holdout(labels[pool], groups[pool], share, seed)]


def _checked(manifest: Manifest, pixels: PixelCache, progress: bool) -> Report:
    """The report of `checks.check`, kept beside the pixels for the next start and for other processes."""
    code = "".join(inspect.getsource(module) for module in (checks, duplicates, report))
    key = hashlib.blake2b((manifest.digest + code).encode(), digest_size=16).hexdigest()
    path = pixels.folder / f"report-{key}.json"
    if path.exists():
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tree["problems"] = [Problem(p["kind"], p["message"], tuple(p["ids"])) for p in tree["problems"]]
        return Report(**tree | {name: [tuple(ids) for ids in tree[name]] for name in ("identical", "similar")})
    with Console(quiet=not progress).status("Checking images"):
        found = checks.check(manifest, pixels)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    temporary.write_text(json.dumps(asdict(found)), encoding="utf-8")
    os.replace(temporary, path)
    return found

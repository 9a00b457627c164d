"""Filling the pixel cache: which rows can be decoded, their pixels, and what is wrong with the others."""

import hashlib
import json
import os
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.progress import track

from cellml.data import cache, images, movie
from cellml.data.cache import PixelCache
from cellml.data.images import BadImageError, Pixels
from cellml.data.manifest import BOX, PAGE, SEQUENCE
from cellml.data.problems import Problem
from cellml.errors import UserError

VERSION = 1  # changes when the same file would decode to other pixels
ALIGN = 16
ODD_SHARE = 0.05  # up to this share of images with another dtype or channel count are left out; more is an error


@dataclass(frozen=True)
class Decoded:
    """A filled cache and where each input row went.

    `rows` is (N,) int64, the position in `pixels` or -1 where the row was left out; `hashes` is (N,) str, 32 hex
    digits of shape, dtype and pixels, or "".
    """

    pixels: PixelCache
    rows: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.object_]
    problems: list[Problem]


def build(
    table: pd.DataFrame,
    root: Path,
    cache_dir: Path,
    channels: Sequence[int] | None = None,
    progress: bool = False,
) -> Decoded:
    """Decode the images of a table, or open the cache that an earlier run or another process made of them.

    The cache is found by the files' relative paths, sizes and modification times, the boxes and the channels, so a
    second start reads no image. A file with many boxes is decoded once, a movie frame by frame. Missing, undecodable
    and constant images become problems; a constant frame of a sequence is kept.

    Args:
        table: columns `id`, `file` and, for crops, `x0, y0, x1, y1`, for movies `page`; one row an image.
        root: folder that `file` is relative to.
        cache_dir: where caches are kept.
        channels: channels to keep.
        progress: show a progress bar.

    Raises:
        UserError: no image can be decoded, or they are of several kinds (dtype, channel count).
    """
    files = table["file"].tolist()
    unique = list(dict.fromkeys(files))
    sizes = [_stat(root / file) for file in unique]
    boxes = table[list(BOX)].to_numpy(dtype=np.int64).tolist() if BOX[0] in table else None
    pages = table[PAGE].to_numpy(dtype=np.int64).tolist() if PAGE in table else None
    frames = SEQUENCE in table
    more = [pages, frames] if pages or frames else []
    final = cache_dir / "pixels" / _key(root, unique, sizes, files, boxes, channels, *more)
    if not (final / "meta.json").exists():
        _fill(final, _Task(root, files, boxes, pages, channels, frames), progress)
    meta = json.loads((final / "meta.json").read_text(encoding="utf-8"))
    with np.load(final / "index.npz") as index:
        rows, hashes = index["rows"], index["hashes"].astype(str).astype(object)
    ids = table["id"].to_numpy(dtype=object)
    problems = [Problem(p["kind"], p["message"], tuple(ids[p["rows"]])) for p in meta["problems"]]
    if not (rows >= 0).any():
        raise UserError(f"Expected readable images below {root}, found none: {problems[0].message}")
    if "mixed" in meta:
        raise UserError(meta["mixed"])
    return Decoded(PixelCache(final), rows, hashes, problems)


@dataclass(frozen=True)
class _Task:
    root: Path
    files: list[str]
    boxes: list[list[int]] | None
    pages: list[int] | None
    channels: Sequence[int] | None
    frames: bool


@dataclass(frozen=True)
class _Found:
    row: int
    pixels: Pixels | None
    digest: str = ""
    kind: str = ""
    message: str = ""


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _key(root: Path, *parts: Any) -> str:
    content = json.dumps([VERSION, str(root.resolve()), *parts])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _fill(final: Path, task: _Task, progress: bool) -> None:
    files = task.files
    temporary = cache.temporary_beside(final)
    try:
        offsets = np.zeros(len(files), dtype=np.int64)
        shapes = np.zeros((len(files), 3), dtype=np.int64)
        kinds: list[tuple[str, int] | None] = [None] * len(files)
        hashes = [""] * len(files)
        bad: list[_Found] = []
        with open(temporary / "pixels.bin", "wb") as out:
            for found in _decode_all(task, progress):
                if found.pixels is None:
                    bad.append(found)
                    continue
                out.write(b"\0" * (-out.tell() % ALIGN))
                offsets[found.row], shapes[found.row] = out.tell(), found.pixels.shape
                kinds[found.row] = (found.pixels.dtype.name, found.pixels.shape[2])
                hashes[found.row] = found.digest
                out.write(np.ascontiguousarray(found.pixels).data)
            if not out.tell():
                out.write(b"\0")  # an empty file cannot be mapped
        meta = _describe(files, kinds, bad)
        good = np.array([k == (meta["dtype"], meta["channels"]) for k in kinds], dtype=bool)
        rows = np.where(good, np.cumsum(good) - 1, -1)
        kept = np.where(good, np.array(hashes, dtype="S32"), b"")
        np.savez(temporary / "index.npz", offsets=offsets[good], shapes=shapes[good], rows=rows, hashes=kept)
        (temporary / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        cache.publish(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _decode_all(task: _Task, progress: bool) -> Iterator[_Found]:
    rows_of: dict[tuple[str, int | None], list[int]] = {}
    for row, file in enumerate(task.files):
        rows_of.setdefault((file, task.pages[row] if task.pages else None), []).append(row)

    count = cache.workers(len(rows_of))
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[Future[list[_Found]]] = deque()
        items = iter(rows_of.items())
        for _ in track(range(len(rows_of)), "Decoding images", disable=not progress):
            while len(waiting) < 4 * count and (item := next(items, None)) is not None:
                waiting.append(pool.submit(_decode, task, *item[0], item[1]))
            yield from waiting.popleft().result()


def _decode(task: _Task, file: str, page: int | None, rows: list[int]) -> list[_Found]:
    path = task.root / file
    if not path.is_file():
        message = f"Expected an image at {file}, found no file"
        return [_Found(row, None, kind="missing", message=message) for row in rows]
    try:
        whole = images.read_image(path, task.channels) if page is None else movie.read_frame(path, page, task.channels)
    except BadImageError as error:
        message = str(error).replace(str(path), file)
        return [_Found(row, None, kind="unreadable", message=message) for row in rows]
    parts = [whole if task.boxes is None else crop(whole, task.boxes[row]) for row in rows]
    return [_found(row, file, np.ascontiguousarray(part), task.frames) for row, part in zip(rows, parts, strict=True)]


def crop(pixels: Pixels, box: Sequence[int]) -> Pixels:
    """The part of an (H, W, C) image inside a half-open box (x0, y0, x1, y1); beyond the border its pixels repeat."""
    x0, y0, x1, y1 = box
    height, width = pixels.shape[:2]
    if min(x0, y0) >= 0 and x1 <= width and y1 <= height:
        return pixels[y0:y1, x0:x1]
    columns = np.arange(x0, x1).clip(0, width - 1)
    return pixels[np.arange(y0, y1).clip(0, height - 1)][:, columns]


def _found(row: int, file: str, pixels: Pixels, frame: bool) -> _Found:
    if 0 in pixels.shape:
        return _Found(row, None, kind="zero-area box", message=f"A box in {file} has no area")
    if not frame and (pixels == pixels[0, 0]).all():
        return _Found(row, None, kind="empty", message=f"{file} is empty: every pixel has the same value")
    digest = hashlib.blake2b(f"{pixels.shape}{pixels.dtype.name}".encode(), digest_size=16)
    digest.update(pixels.data)
    return _Found(row, pixels, digest.hexdigest())


def _describe(files: list[str], kinds: list[tuple[str, int] | None], bad: list[_Found]) -> dict[str, Any]:
    problems: dict[tuple[str, str], list[int]] = {}
    for found in bad:
        problems.setdefault((found.kind, found.message), []).append(found.row)
    counts = Counter(kind for kind in kinds if kind is not None)
    (main, _), *others = counts.most_common() or [(("uint8", 1), 0)]
    meta: dict[str, Any] = {"dtype": main[0], "channels": main[1]}
    for kind, count in others:
        rows = [row for row, k in enumerate(kinds) if k == kind]
        text = (
            f"Expected images of one kind, found {counts[main]} of {main[0]} with {main[1]} channels and {count} "
            f"of {kind[0]} with {kind[1]} ({files[rows[0]]}, say); convert these or leave them out"
        )
        problems[("mixed kind", text)] = rows
        if sum(c for _, c in others) > ODD_SHARE * counts.total():
            meta.setdefault("mixed", text)
    meta["problems"] = [{"kind": k, "message": m, "rows": rows} for (k, m), rows in problems.items()]
    return meta

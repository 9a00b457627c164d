"""The pixel cache: every image decoded once, in parallel, into one flat memory map that all processes share."""

import json
import mmap
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cellml.data import geometry
from cellml.data.images import Pixels

CHUNK_BYTES = 16 << 20  # float32 pixels resized at once
RESIDENT_BYTES = 256 << 20  # pixels read after which the map's pages are given back to the system
STALE_SECONDS = 86_400.0  # a temporary folder or file of this age belongs to a process that died


class PixelCache:
    """Decoded images, read-only, by their position.

    It pickles as its folder's path, so worker processes map the same file instead of copying pixels.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open a finished cache folder (see `cellml.data.decode.build`)."""
        self.folder = Path(folder)
        meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
        self.dtype: str = meta["dtype"]
        self.channels: int = meta["channels"]
        index = np.load(self.folder / "index.npz")
        self._offsets: npt.NDArray[np.int64] = index["offsets"]
        self.shapes: npt.NDArray[np.int64] = index["shapes"]
        with open(self.folder / "pixels.bin", "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._touched = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return PixelCache, (self.folder,)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, row: int) -> Pixels:
        """One image, (H, W, C), a read-only view into the map, which never holds much of the file in memory."""
        shape = tuple(int(n) for n in self.shapes[row])
        image: Pixels = np.ndarray(shape, dtype=self.dtype, buffer=self._bytes, offset=int(self._offsets[row]))
        self._touched += image.nbytes
        if self._touched > RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._bytes.madvise(mmap.MADV_DONTNEED)  # what is looked at again is mapped again
            self._touched = 0
        return image

    def images(self, rows: Iterable[int]) -> list[Pixels]:
        """Images at the given positions, each (H, W, C), of any H and W."""
        return [self[int(row)] for row in rows]

    def resized(self, crop: int | None, size: int, rows: npt.ArrayLike) -> npt.NDArray:
        """Images brought to one size by `geometry.fit`, computed once for the whole cache and kept beside it.

        Args:
            crop: side of the central crop in source pixels, or None.
            size: side of the result.
            rows: (N,) positions.

        Returns:
            (N, size, size, C) of the cache's dtype.
        """
        path = self.folder / f"resized-v{geometry.VERSION}-{crop or 'all'}-{size}.npy"
        if not path.exists():
            self._write_resized(crop, size, path)
        return np.asarray(np.load(path, mmap_mode="r")[np.asarray(rows, dtype=np.int64)])

    def _write_resized(self, crop: int | None, size: int, path: Path) -> None:
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            shape = (len(self), size, size, self.channels)
            out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.dtype(self.dtype), shape=shape)

            def task(chunk: npt.NDArray[np.int64]) -> None:
                planes = geometry.fit(torch.from_numpy(np.stack(self.images(chunk))), crop, size)
                out[chunk] = planes.permute(0, 2, 3, 1).numpy().astype(self.dtype)

            chunks = list(self._same_shape())
            with _one_torch_thread(), ThreadPoolExecutor(workers(len(chunks))) as pool:
                list(pool.map(task, chunks))
            out.flush()
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _same_shape(self) -> Iterator[npt.NDArray[np.int64]]:
        _, kind = np.unique(self.shapes, axis=0, return_inverse=True)
        order = np.argsort(kind, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
            step = max(1, CHUNK_BYTES // (4 * int(self.shapes[rows[0]].prod())))
            yield from (rows[i : i + step] for i in range(0, len(rows), step))


def publish(temporary: Path, final: Path) -> None:
    """Move a finished temporary folder to its place in one step; when another process was first, its result stays."""
    try:
        os.replace(temporary, final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(temporary)


def temporary_beside(final: Path) -> Path:
    """A fresh temporary folder next to `final`; those left by processes that died a day ago are removed."""
    final.parent.mkdir(parents=True, exist_ok=True)
    for old in final.parent.glob("*.tmp"):
        if time.time() - old.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    temporary = final.with_name(f"{final.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir()
    return temporary


def folder(cache_dir: Path | None) -> Path:
    """The cache's folder: the given one, else the environment's CELLML_CACHE, else .cellml-cache here."""
    return Path(cache_dir or os.environ.get("CELLML_CACHE") or ".cellml-cache").absolute()


def workers(tasks: int) -> int:
    """Threads worth starting for a number of tasks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, 32, tasks))


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Each image is too small to be worth torch's own threads, which wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""MP4 files with AV1, the codec that Pillow encodes for AVIF: no further package, none under the GPL.

An AVIF sequence holds the same AV1 samples in the same kind of boxes as an MP4 file (both are ISO 14496-12); they are
encoded in segments, so that a long movie is never held, and put into one track.
"""

import io
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from cellml.errors import UserError

SEGMENT = 24  # frames encoded at once; each begins with a whole picture, to which a player can jump
WORKERS = 2  # segments that are encoded at a time
_SELDOM = dict.fromkeys(("coeff-cost-upd-freq", "mode-cost-upd-freq", "mv-cost-upd-freq"), "3")  # a sixth of the time
# of Pillow's AVIF; 10 is the speed at which libaom encodes in real time
OPTIONS = {"quality": 50, "speed": 10, "max_threads": 1, "advanced": _SELDOM}
TICKS = 90_000  # a second
_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_UNIT = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)  # no rotation

Frames = Iterable[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Segment:
    """AV1 samples of some frames, the first of them a whole picture, and the box `stsd` that describes them."""

    description: bytes
    samples: list[bytes]


def write(frames: Frames, path: Path, rate: float) -> None:
    """Write frames as they come; segments are encoded while the next ones are drawn.

    Args:
        frames: two or more of (H, W, 3) uint8 RGB, all of one size.
        path: of the file.
        rate: frames a second.

    Raises:
        UserError: this Pillow was built without AVIF.
    """
    if not features.check("avif"):
        raise UserError(
            "Expected a Pillow that encodes AVIF for MP4 files, got one without; install Pillow's own wheel"
        )
    sizes: list[list[int]] = []  # of each segment's samples
    descriptions: list[bytes] = []
    shape: tuple[int, ...] = ()
    with path.open("wb") as out, ThreadPoolExecutor(WORKERS) as pool:
        out.write(_box(b"ftyp", b"isom" + struct.pack(">I", 512) + b"isomiso2av01mp41"))
        start = out.tell()
        out.write(struct.pack(">I4sQ", 1, b"mdat", 0))  # a box whose size has 64 bits, filled in at the end

        def keep(segment: Segment) -> None:
            out.write(b"".join(segment.samples))
            sizes.append([len(sample) for sample in segment.samples])
            descriptions.append(segment.description)

        waiting: deque[Future[Segment]] = deque()
        for part in _parts(frames):
            shape = part[0].shape
            if len(waiting) == WORKERS:
                keep(waiting.popleft().result())
            waiting.append(pool.submit(encode, part))
        while waiting:
            keep(waiting.popleft().result())
        if not descriptions:
            raise ValueError("expected two frames or more")
        end = out.tell()
        out.write(_moov(descriptions[0], sizes, start + 16, (shape[1], shape[0]), round(TICKS / rate)))
        out.seek(start + 8)
        out.write(struct.pack(">Q", end - start))


def encode(frames: list[npt.NDArray[np.uint8]]) -> Segment:
    """AV1 samples of two or more frames (H, W, 3), by way of an AVIF sequence."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    file = io.BytesIO()
    first.save(file, "AVIF", save_all=True, append_images=others, duration=100, **OPTIONS)
    content = file.getvalue()
    table = content
    for name in _PATH:
        table = _boxes(table)[name]
    found = _boxes(table)
    count = struct.unpack_from(">I", found[b"stsz"], 8)[0]
    sizes = struct.unpack_from(f">{count}I", found[b"stsz"], 12)
    chunks, offset = struct.unpack_from(">II", found[b"stco"], 4)
    if count != len(frames) or chunks != 1:
        raise RuntimeError(f"expected {len(frames)} samples in one chunk from Pillow, got {count} in {chunks}")
    edges = offset + np.cumsum([0, *sizes])
    samples = [content[low:high] for low, high in pairwise(edges.tolist())]
    return Segment(_box(b"stsd", found[b"stsd"]), samples)


def _parts(frames: Frames) -> Iterator[list[npt.NDArray[np.uint8]]]:
    """Lists of frames; none has a single one, which Pillow would make a still picture."""
    held: list[npt.NDArray[np.uint8]] = []
    for frame in frames:
        held.append(frame)
        if len(held) == SEGMENT + 2:
            yield held[:SEGMENT]
            held = held[SEGMENT:]
    if held:
        yield held


def _boxes(content: bytes) -> dict[bytes, bytes]:
    """Name -> content of the boxes one after the other; the last of those with one name."""
    found, at = {}, 0
    while at + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        size = len(content) - at if size == 0 else size
        found[name] = content[at + 8 : at + size]
        at += size
    return found


def _box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, name) + body


def _full(name: bytes, flags: int, *content: bytes) -> bytes:
    """A box with a version, 0, and flags."""
    return _box(name, struct.pack(">I", flags), *content)


def _moov(description: bytes, sizes: list[list[int]], start: int, size: tuple[int, int], ticks: int) -> bytes:
    """The index of the file: one video track.

    Args:
        description: the box `stsd`.
        sizes: bytes of each sample of each segment.
        start: where the first sample lies in the file.
        size: width and height in pixels.
        ticks: that a frame is shown.
    """
    counts = [len(segment) for segment in sizes]
    flat = [sample for segment in sizes for sample in segment]
    whole = [int(n) for n in np.cumsum([1, *counts[:-1]])]  # samples that are whole pictures, counted from 1
    offsets = [start + int(n) for n in np.cumsum([0, *(sum(segment) for segment in sizes[:-1])])]
    lasting = len(flat) * ticks
    runs = [(k + 1, count, 1) for k, count in enumerate(counts) if k == 0 or count != counts[k - 1]]
    table = _box(
        b"stbl",
        description,
        _full(b"stts", 0, struct.pack(">3I", 1, len(flat), ticks)),
        _full(b"stss", 0, struct.pack(f">{1 + len(whole)}I", len(whole), *whole)),
        _full(b"stsc", 0, struct.pack(">I", len(runs)), *(struct.pack(">3I", *run) for run in runs)),
        _full(b"stsz", 0, struct.pack(f">{2 + len(flat)}I", 0, len(flat), *flat)),
        _full(b"co64", 0, struct.pack(f">I{len(offsets)}Q", len(offsets), *offsets)),
    )
    where = _box(b"dinf", _full(b"dref", 0, struct.pack(">I", 1), _full(b"url ", 1)))
    media = _box(
        b"mdia",
        _full(b"mdhd", 0, struct.pack(">4I2H", 0, 0, TICKS, lasting, 0x55C4, 0)),
        _full(b"hdlr", 0, struct.pack(">I4s12x", 0, b"vide"), b"cells\0"),
        _box(b"minf", _full(b"vmhd", 1, bytes(8)), where, table),
    )
    width, height = size
    track = _full(
        b"tkhd", 3, struct.pack(">5I8x4H", 0, 0, 1, 0, lasting, 0, 0, 0, 0), _UNIT,
        struct.pack(">2I", width << 16, height << 16),
    )  # fmt: skip
    head = _full(
        b"mvhd",
        0,
        struct.pack(">4IIH10x", 0, 0, TICKS, lasting, 1 << 16, 1 << 8),
        _UNIT,
        bytes(24),
        struct.pack(">I", 2),
    )
    return _box(b"moov", head, _box(b"trak", track, media))

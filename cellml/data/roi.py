"""ImageJ's outlines: `.roi` files, alone, in a folder, or in a zip or tar archive."""

import re
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from cellml.data.images import natural
from cellml.errors import UserError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
SUFFIX = ".roi"
POLYGONS = {0: "polygon", 7: "freehand", 8: "traced"}
RECTANGLE, OVAL = 1, 2
_OTHERS = {3: "line", 4: "freehand line", 5: "segmented line", 6: "empty selection", 9: "angle", 10: "points"}
_HEADER = 64
_SUB_PIXEL, _SUB_PIXEL_SINCE = 128, 222  # bit of the options, and the format's version from which it means that
_ROUND = np.linspace(0, 2 * np.pi, 64, endpoint=False)
_NUMBERS = re.compile(r"(\d+)[-_](\d+)$")

Points = npt.NDArray[np.float64]  # (P, 2): x, y


class _Broken(ValueError):
    """Bytes that are no outline."""


@dataclass(frozen=True)
class Outline:
    """A closed outline.

    Attributes:
        name: of its file, without folder and ending.
        points: (P, 2) float64, x and y in pixels from the top left corner of the image, so that the first pixel's
            centre is at (0.5, 0.5).
    """

    name: str
    points: Points


def read(path: str | Path) -> list[Outline]:
    """Outlines of a `.roi` file, a folder of such files, or a zip or tar archive of them, in natural order.

    Raises:
        UserError: nothing there, a broken archive, or a file that is no closed outline; names it.
    """
    path = Path(path)
    found = sorted(_files(path), key=lambda named: natural(named[0]))
    if not found:
        raise UserError(f"Expected ImageJ outlines ({SUFFIX}) in {path}, found none; check the path")
    outlines = []
    for name, content in found:
        where = path if path.suffix.lower() == SUFFIX else f"{path}: {name}"
        try:
            outlines.append(Outline(PurePosixPath(name).stem, decode(content)))
        except _Broken as error:
            raise UserError(f"Expected an ImageJ outline in {where}, got {error}; draw or save it again") from None
    return outlines


def decode(content: bytes) -> Points:
    """The corners of one closed outline: polygon, freehand, traced, rectangle or oval.

    Layout: class `ij.io.RoiDecoder` of ImageJ; big-endian, a header of 64 bytes, then x and y relative to the bounding
    box as 16-bit integers and, where the sub-pixel bit is set, once more as absolute 32-bit floats.

    Args:
        content: of a `.roi` file.

    Returns:
        (P, 2) float64, x and y in pixels from the top left corner of the image; 64 points of an oval.

    Raises:
        ValueError: other bytes, or another kind of selection.
    """
    if content[:4] != b"Iout" or len(content) < _HEADER:
        raise _Broken(f"{len(content)} bytes that are no ImageJ selection")
    version, kind = struct.unpack_from(">hB", content, 4)
    top, left, bottom, right, count = struct.unpack_from(">4hH", content, 8)
    count = count or struct.unpack_from(">i", content, 18)[0]
    (options,) = struct.unpack_from(">h", content, 50)
    precise = bool(options & _SUB_PIXEL) and version >= _SUB_PIXEL_SINCE
    if struct.unpack_from(">i", content, 36)[0] > 0:
        raise _Broken("a composite selection")
    if kind in (RECTANGLE, OVAL):
        box = struct.unpack_from(">4f", content, 18) if precise else (left, top, right - left, bottom - top)
        return _box(*box) if kind == RECTANGLE else _ellipse(*box)
    if kind not in POLYGONS:
        raise _Broken(f"a selection of kind {_OTHERS.get(kind, kind)}")
    if count < 3:
        raise _Broken(f"{count} points")
    start, width, code = (_HEADER + 4 * count, 4, ">f4") if precise else (_HEADER, 2, ">i2")
    if len(content) < start + 2 * width * count:
        raise _Broken(f"{count} points in a file that is cut short")
    points = np.frombuffer(content, code, 2 * count, start).reshape(2, count).T.astype(np.float64)
    return points if precise else points + np.array([left, top])


def centroid(points: Points) -> tuple[float, float]:
    """Centre of mass (x, y) of the area inside a closed outline (P, 2), by the shoelace formula."""
    x, y = (points - points.mean(axis=0)).T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    area = cross.sum() / 2
    shift = np.zeros(2)
    if abs(area) > 1e-9:
        shift = np.array([(cross * (v + np.roll(v, -1))).sum() for v in (x, y)]) / (6 * area)
    cx, cy = points.mean(axis=0) + shift
    return float(cx), float(cy)


def numbered(outlines: Sequence[Outline], source: str | Path) -> list[tuple[int, str]]:
    """Frame, counted from 0, and cell of each outline that is named `<frame>-<cell>`.

    ImageJ counts frames from 1, and so do these names unless one of them says 0.

    Args:
        outlines: N outlines.
        source: what the error names.

    Raises:
        UserError: another name, or two outlines of one cell in one frame.
    """
    found: list[tuple[int, str]] = []
    for outline in outlines:
        match = _NUMBERS.search(outline.name)
        if not match:
            raise UserError(f"Expected outlines named FRAME-CELL{SUFFIX} in {source}, got {outline.name}; rename it")
        found.append((int(match[1]), str(int(match[2]))))
    if len(set(found)) < len(found):
        frame, cell = next(pair for k, pair in enumerate(found) if pair in found[:k])
        raise UserError(f"Expected one outline a cell and frame in {source}, got two of {frame}-{cell}; remove one")
    first = 0 if any(frame == 0 for frame, _ in found) else 1
    return [(frame - first, cell) for frame, cell in found]


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each outline file."""
    lower = path.name.lower()
    if path.is_dir():
        yield from ((p.relative_to(path).as_posix(), p.read_bytes()) for p in path.rglob(f"*{SUFFIX}") if p.is_file())
    elif not path.is_file():
        raise UserError(f"Expected ImageJ outlines at {path}, found nothing; check the path")
    elif lower.endswith(SUFFIX):
        yield path.name, path.read_bytes()
    elif not lower.endswith(ARCHIVES):
        raise UserError(f"Expected {SUFFIX} files, a folder or an archive ({', '.join(ARCHIVES)}), got {path}")
    else:
        try:
            yield from _zipped(path) if lower.endswith(".zip") else _tarred(path)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
            raise UserError(f"Expected an archive of {SUFFIX} files at {path}, it cannot be read: {error}") from None


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        yield from ((name, archive.read(name)) for name in archive.namelist() if name.lower().endswith(SUFFIX))


def _tarred(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.lower().endswith(SUFFIX) and (file := archive.extractfile(member)):
                yield member.name, file.read()


def _box(left: float, top: float, width: float, height: float) -> Points:
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    return np.array(corners, dtype=np.float64)


def _ellipse(left: float, top: float, width: float, height: float) -> Points:
    x, y = left + width / 2 * (1 + np.cos(_ROUND)), top + height / 2 * (1 + np.sin(_ROUND))
    return np.stack([x, y], axis=1)

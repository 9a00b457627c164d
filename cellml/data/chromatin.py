"""Chromatin and spindle of one cell over time: shapes that run into each other, so that one frame may be ambiguous.

What tells stages apart changes by degrees within them: a nucleus condenses through prophase, thins to a plate through
metaphase, parts through anaphase, and swells again through telophase and after it. Cells differ for good in brightness,
size, texture and outline, and plates are seen from every side.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from cellml.data.lineages import Cell, Path

Field = npt.NDArray[np.float32]  # (T, P, P) or, for a number a frame, (T, 1, 1)

TABLE = 128  # side of a table of texture
GROWTH = 6.0  # frames in which a daughter comes a factor e nearer to its full size
WAVES = (2, 3, 4, 5)  # of a nucleus' outline


@dataclass(frozen=True)
class Looks:
    """What sets a cell apart from others for good."""

    brightness: float
    size: float  # of the nucleus, 1 the usual
    rough: float  # how condensed its interphase looks, 0 to 1
    aspect: float  # of the interphase nucleus
    lean: float  # 0: the metaphase plate is seen from its edge; 1: from a pole
    waves: npt.NDArray[np.float64]  # amplitude and phase of the outline's waves, (2, 4)
    offset: npt.NDArray[np.int64]  # where in the tables of texture it lies, (2,)


def looks(count: int, hardness: float, rng: np.random.Generator) -> list[Looks]:
    """Draw the looks of cells, from ranges that widen with hardness (0 to 1)."""
    return [
        Looks(
            brightness=float(np.exp(rng.normal(0, 0.1 + 0.25 * hardness))),
            size=float(rng.uniform(1 - 0.2 * hardness, 1 + 0.12 * hardness)),
            rough=float(rng.uniform(0, 0.15 + 0.35 * hardness)),
            aspect=float(rng.uniform(0.75, 0.95)),
            lean=float(rng.uniform(0.3, 1) if rng.random() < 0.4 * hardness else 0.0),
            waves=np.stack([rng.normal(0, 0.05, 4) / np.sqrt(WAVES), rng.uniform(0, 2 * np.pi, 4)]),
            offset=rng.integers(0, TABLE, 2),
        )
        for _ in range(count)
    ]


def tables(radius: float, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fine and coarse texture that wraps around, each (TABLE, TABLE) of unit variance, for nuclei of a radius."""
    both = []
    for sigma in (0.13, 0.3):
        smooth = gaussian_filter(rng.standard_normal((TABLE, TABLE), dtype=np.float32), sigma * radius, mode="wrap")
        both.append(smooth / smooth.std())
    return both[0], both[1]


def draw(
    cell: Cell,
    path: Path,
    look: Looks,
    texture: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    radius: float,
) -> tuple[npt.NDArray[np.int64], Field, Field, npt.NDArray[np.bool_]]:
    """Draw one cell in all its T frames.

    Returns:
        Upper left corner (x, y) of each frame's square, (T, 2); densities of chromatin and spindle in it, each
        (T, P, P); and the chromatin's mask, (T, P, P).
    """
    half = int(np.ceil(2 * radius))
    centre = np.stack([path.x, path.y], axis=1)
    corner = np.floor(centre).astype(np.int64) - half
    axis = np.arange(2 * half + 1, dtype=np.float32)
    scale = radius * look.size
    dx = (axis[None, None, :] - _column(centre[:, 0] - corner[:, 0])) / scale
    dy = (axis[None, :, None] - _column(centre[:, 1] - corner[:, 1])) / scale
    cos, sin = _column(np.cos(path.angle)), _column(np.sin(path.angle))
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    shape = _shape(cell, look)
    along = np.where(shape.gap > 0, np.abs(u) - shape.gap + shape.trail * v**2, u)
    turn, border = np.arctan2(v, u), np.ones_like(u)
    for k, amplitude, phase in zip(WAVES, *look.waves.astype(np.float32), strict=True):
        border += shape.outline * amplitude * np.cos(np.float32(k) * turn + phase)
    distance = np.hypot(along / shape.width, v / shape.length)
    body = expit((border - distance) / np.maximum(0.12, 0.05 / shape.width)).astype(np.float32)
    rows = (np.floor(v * radius).astype(np.int64) + look.offset[0]) % TABLE
    columns = (np.floor(u * radius).astype(np.int64) + look.offset[1]) % TABLE
    fine, coarse = texture[0][rows, columns], texture[1][rows, columns]
    loose = 0.5 + 0.1 * coarse + 0.06 * fine
    threads = 0.25 + 0.95 * np.exp(-((fine / 0.5) ** 2)) * (1 + 0.2 * coarse)
    dense = 1 + 0.12 * fine
    inside = (1 - shape.condensed) * loose + shape.condensed * ((1 - shape.packed) * threads + shape.packed * dense)
    chromatin = np.float32(look.brightness) * body * np.maximum(inside, 0)
    return corner, chromatin.astype(np.float32), _spindle(u, v, shape).astype(np.float32), body > 0.5


@dataclass(frozen=True)
class _Shape:
    """The chromatin of one cell in each frame, each (T, 1, 1); lengths in nuclear radii."""

    width: Field  # half axis along the spindle
    length: Field  # half axis across it
    gap: Field  # half the distance of the two plates; 0: one body
    trail: Field  # how far arms trail behind, at the ends of a plate
    outline: Field  # 1: uneven like an interphase nucleus; 0: smooth
    condensed: Field  # 0: mottled, 1: threads or dense
    packed: Field  # 0: threads, 1: dense
    spindle: Field  # strength
    pole: Field  # of the spindle, distance from the middle


def _shape(cell: Cell, look: Looks) -> _Shape:
    t = cell.times
    prophase = _part(t, cell.prophase, cell.metaphase)
    metaphase = _part(t, cell.metaphase, cell.anaphase)
    anaphase = _part(t, cell.anaphase, cell.division)
    telophase = _part(t, cell.birth, cell.grown)
    grown = 1 - np.exp(-np.clip(t - cell.grown, 0, None) / GROWTH)  # of a daughter in early interphase
    thin = np.clip(metaphase / 0.6, 0, 1) ** 0.8  # congression
    width = (1 - 0.12 * prophase) * (1 - thin) + (0.27 + 0.45 * look.lean) * thin
    length = look.aspect * (1 - prophase) + 0.88 * prophase
    length = length * (1 - thin) + (0.95 - 0.15 * look.lean) * thin
    parting = anaphase > 0
    gap = np.where(parting, 0.1 + 0.75 * anaphase**0.8, 0.0)
    width = np.where(parting, 0.2 + 0.05 * look.lean, width)
    length = np.where(parting, 0.85 - 0.25 * anaphase, length)
    width = width * (0.2 + 0.3 * telophase + 0.5 * grown)
    length = length * (0.6 + 0.05 * telophase + (look.aspect - 0.65) * grown) / look.aspect
    falling = 1 - (1 - look.rough) * (0.65 * telophase + 0.35 * grown)
    condensed = np.maximum(look.rough + (1 - look.rough) * prophase**0.8, falling)
    packed = np.maximum(thin, 0.8 * (1 - telophase) + 0.2 * (1 - grown))
    spindle = np.clip(metaphase * 3, 0, 1) * (1 - 0.4 * anaphase) + 0.4 * (1 - telophase)
    pole = np.where(parting, gap + 0.35, 0.9 * (1 - 0.6 * look.lean))
    columns = (width, length, gap, 0.22 * parting, 1 - thin, condensed, packed, spindle, pole)
    return _Shape(*(_column(np.broadcast_to(column, t.shape)) for column in columns))


def _spindle(u: Field, v: Field, shape: _Shape) -> Field:
    share = np.clip(1 - np.abs(u) / shape.pole, 0, 1)
    across = 0.12 + 0.6 * np.sqrt(share)
    fan = np.exp(-((v / across) ** 4)) * expit((shape.pole - np.abs(u)) / 0.08)
    poles = np.exp(-((np.abs(u) - shape.pole) ** 2 + v**2) / 0.03)
    return shape.spindle * (0.5 * fan + 0.6 * poles)


def _part(t: npt.NDArray[np.float64], start: float, end: float) -> npt.NDArray[np.float64]:
    """How much of a stage has passed, (T,), 0 to 1; a stage that never comes: 0, one that has always been over: 1."""
    if not np.isfinite(start):
        return np.full(len(t), float(start < 0))
    return np.clip((t - start) / (end - start), 0, 1)


def _column(values: npt.NDArray) -> Field:
    return np.asarray(values, dtype=np.float32)[:, None, None]

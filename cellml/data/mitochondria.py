"""Mitochondria of adherent cells: filaments that branch through the cytoplasm and, when they fragment, dots.

Filaments are smooth random walks between the nucleus and the cell's outline. Fragmentation cuts them into pieces and
draws each piece together around its middle, so that the same mass lies in a network or in dots.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FILAMENTS = 28  # of a cell; half of them branch from others
POINTS = 26  # of a filament
STEP = 0.04  # between points, in cell radii
WHOLE, CUT = 0.015, 0.24  # chance of a cut between two points without fragmentation and with it complete
WAVES = (1, 2, 3, 5)  # of a cell's outline

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outlines:
    """Outlines of M cells around their nuclei: `x`, `y`, `angle`, `radius`, `nucleus` (radius), `stretch`, each (M,).

    Lengths in pixels; `stretch` is the ratio of the half axes; `waves` (2, M, 4) are amplitudes and phases.
    """

    x: Numbers
    y: Numbers
    angle: Numbers
    radius: Numbers
    nucleus: Numbers
    stretch: Numbers
    waves: Numbers

    def reach(self, direction: Numbers) -> Numbers:
        """From the nucleus' centre to the outline in pixels, for directions in the image, (M, ...)."""
        wide = (slice(None), *(None,) * (direction.ndim - 1))
        turn = direction - self.angle[wide]
        long = np.sqrt(self.stretch)[wide]
        ellipse = 1 / np.sqrt((np.cos(turn) / long) ** 2 + (np.sin(turn) * long) ** 2)
        border = np.ones_like(turn)
        for k, amplitude, phase in zip(WAVES, self.waves[0].T, self.waves[1].T, strict=True):
            border += amplitude[wide] * np.cos(np.float32(k) * turn + phase[wide])
        return self.radius[wide] * ellipse * border


def draw(
    outlines: Outlines, fragmentation: npt.NDArray[np.floating], rng: np.random.Generator
) -> tuple[Numbers, Numbers, Numbers]:
    """Lay out the mitochondria of M cells as points.

    Args:
        outlines: of the cells.
        fragmentation: (M,), 0 (a network of filaments) to 1 (dots).
        rng: source of every random number.

    Returns:
        x, y in pixels and the mass of each point, (M, P) each; the masses of a cell sum to about 1.
    """
    count, half = len(outlines.x), FILAMENTS // 2
    around = 2 * np.pi * (np.arange(half) + rng.uniform(0, 1, (count, half))) / half
    start = rng.beta(1.2, 1.5, (count, half)), around + rng.uniform(0, 2 * np.pi, (count, 1))
    heading = rng.uniform(0, 2 * np.pi, (count, half))
    depth, turn, course = _walk(outlines, *start, heading, rng)
    twig = np.arange(count)[:, None], np.arange(half)[None, :], rng.integers(0, POINTS, (count, half))
    aside = rng.uniform(0.5, 1.2, (count, half)) * rng.choice([-1, 1], (count, half))
    branches = _walk(outlines, depth[twig], turn[twig], course[twig] + aside, rng)
    depth, turn = np.concatenate([depth, branches[0]], axis=1), np.concatenate([turn, branches[1]], axis=1)
    inner = outlines.nucleus[:, None, None]
    away = inner + depth * (outlines.reach(turn) - inner)
    x = outlines.x[:, None, None] + away * np.cos(turn)
    y = outlines.y[:, None, None] + away * np.sin(turn)
    return _fragment(x, y, outlines.radius, fragmentation.astype(np.float32), rng)


def splat(x: Numbers, y: Numbers, mass: Numbers, image: npt.NDArray[np.int64], count: int, size: int) -> Numbers:
    """Sum the mass of points into pixels, shared by distance among the four around each point.

    Args:
        x: columns, (M, P).
        y: rows, (M, P).
        mass: (M, P).
        image: which image each of the M cells lies in.
        count: number of images.
        size: side of an image in pixels.

    Returns:
        (count, size, size).
    """
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, low = x - left, y - top
    total = np.zeros(count * size * size)
    for dx, dy, share in (
        (0, 0, (1 - right) * (1 - low)),
        (1, 0, right * (1 - low)),
        (0, 1, (1 - right) * low),
        (1, 1, right * low),
    ):
        column, row = left + dx, top + dy
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        place = (image[:, None] * size + row) * size + column
        total += np.bincount(place[inside], (mass * share)[inside], minlength=len(total))
    return total.reshape(count, size, size).astype(np.float32)


def _walk(
    outlines: Outlines, depth: npt.NDArray, turn: npt.NDArray, heading: npt.NDArray, rng: np.random.Generator
) -> tuple[Numbers, Numbers, Numbers]:
    """Depth in the cytoplasm (0: nucleus, 1: outline), direction and heading along walks, each (M, F, POINTS)."""
    shape = (*depth.shape, POINTS)
    bend = rng.normal(0, 0.05, (*depth.shape, 1)) + rng.normal(0, 0.2, shape)
    course = (heading[..., None] + np.cumsum(bend, axis=2)).astype(np.float32)
    step = STEP * outlines.radius[:, None, None]
    width = (outlines.radius - outlines.nucleus)[:, None, None]
    around = outlines.nucleus[:, None, None] + depth[..., None].astype(np.float32) * width
    out = depth[..., None] + np.cumsum(step * np.cos(course), axis=2) / width
    folded = 0.04 + 0.84 * np.abs((out - 0.04) / 0.84 - 2 * np.round((out - 0.04) / 1.68))  # turned back at both ends
    along = turn[..., None] + np.cumsum(step * np.sin(course), axis=2) / around
    return folded.astype(np.float32), along.astype(np.float32), course


def _fragment(
    x: Numbers, y: Numbers, radius: Numbers, fragmentation: Numbers, rng: np.random.Generator
) -> tuple[Numbers, Numbers, Numbers]:
    """Cut walks (M, F, L) into pieces that draw together; x, y and mass, (M, F * L)."""
    count = len(x)
    broken = fragmentation[:, None, None]
    cut = rng.random(x.shape) < WHOLE * (CUT / WHOLE) ** broken
    cut[..., 0] = True
    piece = np.cumsum(cut).reshape(x.shape) - 1
    length = np.bincount(piece.ravel()).astype(np.float32)
    together = 0.8 * broken
    swollen = 0.035 * radius[:, None, None] * broken
    spots = swollen * rng.standard_normal((2, *x.shape), dtype=np.float32) * 0.7
    moved = [
        middle + (1 - together) * (values - middle) + spread
        for values, spread in zip((x, y), spots, strict=True)
        for middle in [(np.bincount(piece.ravel(), values.ravel()) / length).astype(np.float32)[piece]]
    ]
    bright = np.exp(rng.normal(0, 0.3, len(length))).astype(np.float32)[piece]
    mass = bright / (FILAMENTS * POINTS)
    return moved[0].reshape(count, -1), moved[1].reshape(count, -1), mass.reshape(count, -1)

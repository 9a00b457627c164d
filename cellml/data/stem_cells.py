"""Micrographs of adherent stem cells in three stains: mitochondria, nucleus, actin.

One cell in the middle, neighbours cut by the frame; then the chain of a wide-field microscope: out-of-focus haze, point
spread, uneven illumination, photon and read-out noise, eight bits.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import expit

from cellml.data import mitochondria, nuclei
from cellml.data.mitochondria import Outlines

NEIGHBOURS = 3  # at most, around a cell
RADIUS, NUCLEUS = 0.33, 0.125  # of a cell and of its nucleus, as shares of the image's side
BACKGROUND = np.array([4, 5, 5], dtype=np.float32)  # counts of each channel without a cell
TABLE = 256  # side of the table of fibres

Batch = npt.NDArray[np.floating]  # (N, size, size) or (N, size, size, 3)


@dataclass(frozen=True)
class Fields:
    """N images (N, size, size, 3) uint8, channel 0's mean without noise (N,), masks (N, size, size) bool."""

    images: npt.NDArray[np.uint8]
    recorded: npt.NDArray[np.float64]
    mitochondria: npt.NDArray[np.bool_]
    cells: npt.NDArray[np.bool_]


def render(
    mean: npt.NDArray[np.floating],
    fragmentation: npt.NDArray[np.floating],
    look: npt.NDArray[np.void],
    *,
    size: int,
    difficulty: float,
    rng: np.random.Generator,
) -> Fields:
    """Draw a batch of images.

    Args:
        mean: (N,) mean of channel 0 over the image in counts, as a well without batch effects would record it.
        fragmentation: (N,) of the mitochondria, 0 (filaments) to 1 (dots).
        look: (N,) records of the well of each image, see `plates.looks`.
        size: side of an image in pixels.
        difficulty: 0 to 1, of noise.
        rng: source of every random number.
    """
    count = len(mean)
    outlines, image, turns = _places(count, size, rng)
    x, y, mass = mitochondria.draw(outlines, np.asarray(fragmentation)[image], rng)
    network = mitochondria.splat(x, y, mass, image, count, size)
    nucleus, actin, body = np.zeros((3, count, size, size), dtype=np.float32)
    for part in turns:
        drawn = _cells(_only(outlines, part), size, rng)
        for total, one in zip((nucleus, actin, body), drawn, strict=True):
            total[image[part]] = np.maximum(total[image[part]], one)
    network *= 1 - 0.85 * np.clip(nucleus / 0.3, 0, 1)
    scene = _optics(np.stack([network, nucleus, actin], axis=-1), look["defocus"], size)
    scene[..., 0] *= ((mean - BACKGROUND[0]) / scene[..., 0].mean(axis=(1, 2)))[:, None, None]
    scene[..., 1:] *= np.array([170, 140], dtype=np.float32) * np.exp(rng.normal(0, 0.12, (count, 1, 1, 2)))
    expected = (scene + BACKGROUND * _wide(look["background"])) * _wide(look["gain"]) * _light(look, size)
    images = _camera(expected, difficulty, rng)
    smooth = gaussian_filter(network, (0, 0.012 * size, 0.012 * size), truncate=3)
    bright = smooth > 0.3 * np.percentile(smooth, 98, axis=(1, 2), keepdims=True)
    return Fields(images, expected[..., 0].mean(axis=(1, 2), dtype=np.float64), bright, body > 0.5)


def _places(count: int, size: int, rng: np.random.Generator) -> tuple[Outlines, npt.NDArray[np.int64], list[slice]]:
    """Outlines of the middle cells and then of their neighbours, (M,), the image that each lies in, (M,), and slices
    of them in which no image has two.
    """
    near = rng.random((NEIGHBOURS, count)) < np.array([0.9, 0.7, 0.4])[:, None]
    around = rng.uniform(0, 2 * np.pi, count) + np.arange(NEIGHBOURS)[:, None] * 2 * np.pi / NEIGHBOURS
    around = around + rng.normal(0, 0.25, around.shape)
    away = rng.uniform(1.8, 2.2, around.shape) * RADIUS * size
    middle = (size - 1) / 2 + rng.normal(0, 0.02 * size, (2, count))
    image = np.concatenate([np.arange(count), np.nonzero(near)[1]])
    x = np.concatenate([middle[0], (middle[0] + away * np.cos(around))[near]])
    y = np.concatenate([middle[1], (middle[1] + away * np.sin(around))[near]])
    m = len(image)
    amplitudes = rng.normal(0, [0.14, 0.07, 0.08, 0.04], (m, len(mitochondria.WAVES)))
    parts = {
        "x": x,
        "y": y,
        "angle": rng.uniform(0, 2 * np.pi, m),
        "radius": RADIUS * size * rng.uniform(0.92, 1.08, m),
        "nucleus": NUCLEUS * size * rng.uniform(0.92, 1.08, m),
        "stretch": rng.uniform(1.0, 1.9, m),
        "waves": np.stack([amplitudes, rng.uniform(0, 2 * np.pi, amplitudes.shape)]),
    }
    ends = np.cumsum([0, count, *near.sum(axis=1)])
    turns = [slice(a, b) for a, b in itertools.pairwise(ends)]
    return Outlines(**{name: values.astype(np.float32) for name, values in parts.items()}), image, turns


def _only(outlines: Outlines, part: slice) -> Outlines:
    fields = {name: getattr(outlines, name)[part] for name in ("x", "y", "angle", "radius", "nucleus", "stretch")}
    return Outlines(**fields, waves=outlines.waves[:, part])


def _cells(outlines: Outlines, size: int, rng: np.random.Generator) -> tuple[Batch, Batch, Batch]:
    """Density of the nucleus, of actin and of the whole cell, each (M, size, size)."""
    x, y, angle, radius, core = (
        values[:, None, None] for values in (outlines.x, outlines.y, outlines.angle, outlines.radius, outlines.nucleus)
    )
    axis = np.arange(size, dtype=np.float32)
    dx, dy = axis - x, axis[:, None] - y
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    loose = rng.uniform(0, 0.12, x.shape).astype(np.float32)
    nucleus = nuclei.nucleus(u / core, v / core, float(core.mean()), loose, rng)
    inside = 1 - np.hypot(dx, dy) / outlines.reach(np.arctan2(dy, dx))  # 0 on the outline
    body = expit(inside / 0.035)
    cortex = np.exp(-(((inside - 0.07) / 0.07) ** 2))
    fibres = _fibres(u / radius, v / radius, rng)
    actin = body * (0.15 + 0.5 * cortex + 0.6 * fibres * np.clip(inside * 4, 0, 1))
    return nucleus, actin.astype(np.float32), body.astype(np.float32)


def _fibres(u: Batch, v: Batch, rng: np.random.Generator) -> Batch:
    """Stress fibres along u, (M, size, size), 0 to about 1; coordinates in cell radii."""
    table = gaussian_filter(rng.standard_normal((TABLE, TABLE), dtype=np.float32), (1.2, 22), mode="wrap")
    table = np.clip(table / table.std(), 0, None) / 2
    bend = rng.normal(0, 0.15, (len(u), 1, 1)).astype(np.float32)
    corner = rng.uniform(0, TABLE, (2, len(u), 1, 1)).astype(np.float32)
    grid = np.stack([(v + bend * u**2) * 26 + corner[0], u * 26 + corner[1]]) % TABLE
    return map_coordinates(table, grid, order=1, mode="grid-wrap")


def _optics(scene: Batch, defocus: npt.NDArray[np.floating], size: int) -> Batch:
    def blurred(width: float) -> Batch:
        return gaussian_filter(scene, (0, width * size, width * size, 0), mode="nearest", truncate=3)

    soft = defocus[:, None, None, None]
    return (1 - soft) * blurred(0.0105) + soft * blurred(0.026) + 0.12 * blurred(0.09)


def _light(look: npt.NDArray[np.void], size: int) -> Batch:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    slope, direction = look["slope"][:, None, None], look["direction"][:, None, None]
    ramp = np.cos(direction) * axis[None, None, :] + np.sin(direction) * axis[None, :, None]
    return (1 + slope * ramp)[..., None]


def _camera(expected: Batch, difficulty: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Counts (N, size, size, 3) with photon and read-out noise, rounded to eight bits."""
    photons = 5.0 * 0.14**difficulty  # of one count
    spread = np.sqrt(np.maximum(expected, 0) / photons + (0.5 + 0.6 * difficulty) ** 2)
    noisy = expected + spread * rng.standard_normal(expected.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _wide(channels: npt.NDArray) -> Batch:
    return channels[:, None, None, :]

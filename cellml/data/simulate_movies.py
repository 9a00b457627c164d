"""Simulated movies of dividing fluorescent nuclei: whole fields with masks, tracks, lineages and stages.

The truth of a frame is when a stage begins, not how the frame looks: nuclei change by degrees, differ for good from
each other, touch, and are recorded with noise, bleaching and wandering focus. Stages are told by what came before.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile
from scipy.ndimage import gaussian_filter

from cellml.data import chromatin, lineages
from cellml.data.lineages import Cell
from cellml.errors import UserError

RADIUS = 10.0  # of a nucleus in pixels

Planes = npt.NDArray[np.float32]


def write(
    folder: str | Path,
    *,
    movies: int = 12,
    frames: int = 40,
    cells: int = 4,
    seed: int = 0,
    size: int = 160,
    channels: int = 1,
    difficulty: float = 0.5,
) -> Path:
    """Write simulated movies, label images and the table of tracks.

    Args:
        folder: made if needed; gets `movies/*.tif` (ImageJ hyperstacks, uint8), `masks/*.tif` (a page a frame, uint16,
            the track's number where its chromatin is) and `tracks.csv`.
        movies: number of movies, each with its own staining, exposure, illumination and drift.
        frames: frames of a movie.
        cells: nuclei in the first frame of a movie; most of them divide.
        seed: the same seed and options give the same files.
        size: side of the field in pixels; a nucleus is 20 across.
        channels: 1 (chromatin) or 2 (chromatin; spindle and cytoplasm).
        difficulty: 0 (stages apart) to 1 (noisy, blurred, cells unlike each other).

    Returns:
        Path of `tracks.csv`, with the columns movie, mask, track, frame, x, y, parent, stage; one row a frame of a
        track, mothers' tracks ending as telophase begins, `parent` 0 where there is none.

    Raises:
        UserError: an option out of range.
    """
    _check(movies, frames, cells, size, channels, difficulty)
    folder = Path(folder)
    for name in ("movies", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    tables = []
    for number in range(movies):
        name = f"movie-{number + 1:0{len(str(movies))}d}.tif"
        images, labels, tracks = movie(
            frames, cells, size, channels, 0.5 + difficulty / 2, np.random.default_rng([seed, number])
        )
        axes = "TCYX" if channels > 1 else "TYX"
        tifffile.imwrite(folder / "movies" / name, images, imagej=True, metadata={"axes": axes})
        tifffile.imwrite(folder / "masks" / name, labels, imagej=True, metadata={"axes": "TYX"})
        tracks.insert(0, "movie", f"movies/{name}")
        tracks.insert(1, "mask", f"masks/{name}")
        tables.append(tracks)
    path = folder / "tracks.csv"
    pd.concat(tables).to_csv(path, index=False)
    return path


def movie(
    frames: int, cells: int, size: int, channels: int, hardness: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16], pd.DataFrame]:
    """Draw one movie.

    Returns:
        Images (T, H, W) or (T, C, H, W); label images (T, H, W), 0 where there is no chromatin; and the tracks, as
        `write` tells.
    """
    found = lineages.lineages(cells, frames, rng)
    ways = lineages.paths(found, size, RADIUS, rng)
    texture = chromatin.tables(RADIUS, rng)
    density = np.zeros((2, frames, size, size), dtype=np.float32)
    labels = np.zeros((frames, size, size), dtype=np.uint16)
    looks = chromatin.looks(len(found), hardness, rng)
    for cell, look in zip(found, looks, strict=True):
        corners, body, spindle, mask = chromatin.draw(cell, ways[cell.track], look, texture, RADIUS)
        for n, (x, y) in enumerate(corners):
            part, rest = _overlap(x, y, body.shape[1], size)
            frame = cell.first + n
            labels[frame][part][mask[n][rest] & (density[0, frame][part] < body[n][rest])] = cell.track
            density[0, frame][part] = np.maximum(density[0, frame][part], body[n][rest])
            density[1, frame][part] += spindle[n][rest]
    images = _expose(density, channels, hardness, rng)
    return (images[:, 0] if channels == 1 else images), labels, _tracks(found, ways, rng)


def _overlap(x: int, y: int, side: int, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a square lies in the field, and which part of it does."""
    left, top, right, low = max(0, x), max(0, y), min(size, x + side), min(size, y + side)
    return (slice(top, low), slice(left, right)), (slice(top - y, low - y), slice(left - x, right - x))


def _expose(density: Planes, channels: int, hardness: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Camera counts (T, C, H, W) of chromatin and spindle (2, T, H, W): haze, focus, light, bleaching, noise."""
    _, frames, size, _ = density.shape
    body = gaussian_filter(density[0], (0, 5, 5), truncate=2)
    planes = [density[0] + 0.25 * body]
    if channels > 1:
        grain = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), 2.5)
        cytoplasm = np.clip(body * (1 + 3 * grain) - 0.5 * density[0], 0, None)
        planes.append((0.7 - 0.35 * hardness) * density[1] + 0.5 * cytoplasm)
    scene = np.stack(planes, axis=1)
    sharp = gaussian_filter(scene, (0, 0, 0.7, 0.7), truncate=3)
    soft = gaussian_filter(scene, (0, 0, 2.2, 2.2), truncate=2)
    focus = _each(np.clip(rng.normal(0.35 * hardness, 0.3 * hardness, frames), 0, 1))
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    turn, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4 * hardness)
    light = 1 + np.float32(slope) * (
        np.float32(np.cos(turn)) * axis[None, :] + np.float32(np.sin(turn)) * axis[:, None]
    )
    bleaching = np.exp(-rng.uniform(0, 0.012) * np.arange(frames))
    gain = _each(rng.normal(1, 0.08 * hardness, frames) * bleaching)
    photons = np.float32(rng.uniform(30, 50) / (0.4 + hardness))
    background = np.float32(rng.uniform(0.05, 0.12))
    counts = np.clip((((1 - focus) * sharp + focus * soft) * gain + background) * light, 0, None) * photons
    spread = np.sqrt(counts + np.float32(0.5 + hardness) ** 2)  # of photons and of the read-out
    counts += spread * rng.standard_normal(counts.shape, dtype=np.float32)
    return np.clip(counts * np.float32(rng.uniform(110, 150)) / photons + 5, 0, 255).astype(np.uint8)


def _each(values: npt.NDArray) -> Planes:
    """A number a frame, (T,), as (T, 1, 1, 1)."""
    return values.astype(np.float32)[:, None, None, None]


def _tracks(cells: list[Cell], ways: dict[int, lineages.Path], rng: np.random.Generator) -> pd.DataFrame:
    parts = []
    for cell in cells:
        way = ways[cell.track]
        around = rng.normal(0, 0.6, (2, len(way.x)))  # a tracker's centres are not exact
        parts.append(
            pd.DataFrame(
                {
                    "track": cell.track,
                    "frame": np.arange(cell.first, cell.end),
                    "x": np.round(way.x + around[0], 1),
                    "y": np.round(way.y + around[1], 1),
                    "parent": cell.parent,
                    "stage": cell.stages,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _check(movies: int, frames: int, cells: int, size: int, channels: int, difficulty: float) -> None:
    for name, value, low, high in (
        ("movies", movies, 1, 10_000),
        ("frames", frames, 4, 10_000),
        ("cells", cells, 1, 1000),
        ("size", size, 64, 4096),
        ("channels", channels, 1, 2),
        ("difficulty", difficulty, 0, 1),
    ):
        if not low <= value <= high:
            raise UserError(f"Expected simulated movies with {name} of {low} to {high}, got {value}; correct it")

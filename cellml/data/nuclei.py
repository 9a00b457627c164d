"""What dividing cells look like: chromatin and spindle of each mitotic stage as smooth densities on a pixel grid.

All functions work on a batch: coordinates (N, H, W) in nuclear radii, `u` along the spindle axis and `v` across it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.special import expit

Field = npt.NDArray[np.floating[Any]]  # (N, H, W) or, for parameters of a cell, (N, 1, 1)

SHARES = {"interphase": 0.5, "prophase": 0.2, "metaphase": 0.15, "anaphase": 0.06, "telophase": 0.09}
STAGES = tuple(SHARES)


@dataclass(frozen=True)
class Cell:
    """Densities of a batch of cells, each (N, H, W): 1 is the chromatin of a metaphase plate, or a dense spindle."""

    chromatin: Field
    spindle: Field


def draw(stage: str, u: Field, v: Field, radius: float, *, hardness: float, rng: np.random.Generator) -> Cell:
    """Draw one cell of a stage per coordinate frame.

    Args:
        stage: one of STAGES.
        u: coordinate along the spindle axis, (N, H, W), in nuclear radii.
        v: coordinate across it, same shape.
        radius: nuclear radius in pixels, the scale of the textures.
        hardness: 0 to 1; how far neighbouring stages run into each other.
        rng: source of every random number.
    """
    if stage in ("interphase", "prophase"):
        border = 0.15 + 0.35 * hardness
        low, high = (0.0, border) if stage == "interphase" else (0.6 - 0.4 * hardness, 1.0)
        condensation = _uniform(rng, len(u), low, high)
        ripe = (condensation > border) & (rng.random((len(u), 1, 1)) < 0.8)
        return Cell(nucleus(u, v, radius, condensation, rng), _asters(u, v, rng) * ripe)
    return {"metaphase": _metaphase, "anaphase": _anaphase, "telophase": _telophase}[stage](u, v, radius, hardness, rng)


def nucleus(u: Field, v: Field, radius: float, condensation: Field, rng: np.random.Generator) -> Field:
    """A nucleus with its envelope: mottled with nucleoli at condensation 0, a ball of threads at 1; (N, H, W)."""
    n = len(u)
    aspect = _uniform(rng, n, 0.7, 0.95) * (1 - condensation) + 0.93 * condensation
    inside = _blob(u, v / aspect, 0.05, rng)
    fine, coarse = noise(rng, u.shape, 0.13 * radius), noise(rng, u.shape, 0.3 * radius)
    mottled = 0.45 + 0.09 * coarse + 0.06 * fine
    distance = np.hypot(u, v / aspect)
    mottled += 0.08 * np.exp(-(((distance - 0.9) / 0.12) ** 2))
    for _ in range(4):
        a, r = _uniform(rng, n, 0, 2 * np.pi), _uniform(rng, n, 0.05, 0.6)
        width, depth = _uniform(rng, n, 0.13, 0.26), _uniform(rng, n, 0.1, 0.75) * (1 - condensation)
        mottled *= 1 - depth * np.exp(-((u - r * np.cos(a)) ** 2 + (v - r * np.sin(a) * aspect) ** 2) / width**2)
    threads = 0.12 + 0.95 * np.exp(-((fine / 0.45) ** 2)) * (1 + 0.25 * coarse)
    return (inside * np.maximum((1 - condensation) * mottled + condensation * threads, 0)).astype(np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Field:
    """Smooth Gaussian noise of zero mean and unit variance, correlated over `sigma` pixels, (N, H, W)."""
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth = gaussian_filter(white, (0, sigma, sigma), mode="wrap", truncate=3)
    return smooth / (smooth.std(axis=(1, 2), keepdims=True) + 1e-6)


def _metaphase(u: Field, v: Field, radius: float, hardness: float, rng: np.random.Generator) -> Cell:
    n = len(u)
    lean = np.where(rng.random((n, 1, 1)) < 0.1 + 0.25 * hardness, _uniform(rng, n, 0.3, 1), 0)  # seen from a pole
    length = _uniform(rng, n, 0.75, 1.1) * (1 - 0.25 * lean)
    width = _uniform(rng, n, 0.2, 0.3) * (1 - lean) + lean * length
    bend = _uniform(rng, n, -0.12, 0.12)
    ragged = 0.07 * noise(rng, u.shape, 0.18 * radius)
    gap = _uniform(rng, n, 0, 0.12 * hardness)
    plate = _plate(np.abs(u + bend * v**2 + ragged) - gap, v, width, length)
    hollow = 1 - 0.5 * lean * np.exp(-(u**2 + v**2) / 0.06)  # arms point outwards in the rosette
    chromatin = plate * hollow * (1 - 0.3 * lean) * (1 + (0.12 + 0.15 * lean) * noise(rng, u.shape, 0.12 * radius))
    stray = rng.random((n, 1, 1)) < 0.15 + 0.2 * hardness  # a chromosome not yet congressed
    side = np.where(rng.random((n, 1, 1)) < 0.5, -1, 1)
    spot = np.exp(-(((u - side * 0.62) / 0.14) ** 2 + ((v - _uniform(rng, n, -0.4, 0.4)) / 0.2) ** 2))
    pole = _uniform(rng, n, 0.95, 1.15) * (1 - 0.8 * lean)
    return Cell(_positive(chromatin + 0.6 * stray * spot), _fan(u, v, pole, 0.6, rng))


def _anaphase(u: Field, v: Field, radius: float, hardness: float, rng: np.random.Generator) -> Cell:
    n = len(u)
    distance = _uniform(rng, n, 0.4 - 0.2 * hardness, 0.85 + 0.15 * hardness)
    width, length = _uniform(rng, n, 0.14, 0.2), _uniform(rng, n, 0.55, 0.85)
    trail = _uniform(rng, n, 0.15, 0.5)  # arms trail behind the centromeres
    ragged = 0.06 * noise(rng, u.shape, 0.18 * radius)
    tilt = np.where(u > 0, _uniform(rng, n, -0.2, 0.2), _uniform(rng, n, -0.2, 0.2))
    plates = _plate(np.abs(u) - distance + trail * v**2 + tilt * v + ragged, v, width, length)
    chromatin = 0.95 * plates * (1 + 0.12 * noise(rng, u.shape, 0.12 * radius))
    midzone = 0.35 * expit((distance - np.abs(u)) / 0.08) * np.exp(-((v / 0.45) ** 2)) * _fibres(v / 0.45, rng)
    return Cell(_positive(chromatin), (midzone + 0.8 * _fan(u, v, distance + 0.3, 0.45, rng)).astype(np.float32))


def _telophase(u: Field, v: Field, radius: float, hardness: float, rng: np.random.Generator) -> Cell:
    n = len(u)
    distance = _uniform(rng, n, 0.95 - 0.3 * hardness, 1.25)
    short, long = _uniform(rng, n, 0.22, 0.36), _uniform(rng, n, 0.45, 0.65)
    tilt = np.where(u > 0, _uniform(rng, n, -0.5, 0.5), _uniform(rng, n, -0.5, 0.5))
    a, b = np.abs(u) - distance + tilt * v, v - 0.3 * tilt * (np.abs(u) - distance)
    inside = _blob(a / short, b / long, 0.07, rng, softness=0.16)
    dense = 0.75 * (1 + 0.15 * noise(rng, u.shape, 0.15 * radius))
    waist = _uniform(rng, n, 0.09, 0.16)
    bridge = np.exp(-((v / waist) ** 2)) * expit((0.55 * distance - np.abs(u)) / 0.06)
    midbody = bridge * (1 - 0.7 * np.exp(-((u / 0.09) ** 2)))
    midbody *= _uniform(rng, n, 0.2, 0.9)
    return Cell(_positive(inside * dense), midbody.astype(np.float32))


def _asters(u: Field, v: Field, rng: np.random.Generator) -> Field:
    n = len(u)
    reach, across = _uniform(rng, n, 0.85, 1.05), _uniform(rng, n, -0.25, 0.25)
    squared = np.minimum((u - reach) ** 2 + (v - across) ** 2, (u + reach) ** 2 + (v + across) ** 2)
    return (0.6 * np.exp(-squared / 0.03) + 0.25 * np.exp(-squared / 0.12)).astype(np.float32)


def _fan(u: Field, v: Field, pole: Field, width: float, rng: np.random.Generator) -> Field:
    share = np.clip(1 - np.abs(u) / pole, 0, 1)
    across = 0.1 + width * np.sqrt(share)
    body = np.exp(-((v / across) ** 4)) * expit((pole - np.abs(u)) / 0.05) * _fibres(v / across, rng)
    poles = np.exp(-((np.abs(u) - pole) ** 2 + v**2) / 0.025)
    return (0.55 * body + 0.6 * poles).astype(np.float32)


def _fibres(across: Field, rng: np.random.Generator) -> Field:
    n = len(across)
    return (0.65 + 0.35 * np.cos(_uniform(rng, n, 6, 9) * across + _uniform(rng, n, 0, 2 * np.pi))).astype(np.float32)


def _plate(u: Field, v: Field, width: Field, length: Field) -> Field:
    inner = np.maximum(u, 0) if np.all(u >= 0) else u
    return expit(4 * (1 - (inner / width) ** 2 - (v / length) ** 4)).astype(np.float32)


def _blob(u: Field, v: Field, roughness: float, rng: np.random.Generator, softness: float = 0.06) -> Field:
    angle = np.arctan2(v, u)
    border = np.ones((len(u), 1, 1), dtype=np.float32)
    for k in (2, 3, 4, 5):
        amplitude = rng.normal(0, roughness / k**0.5, (len(u), 1, 1)).astype(np.float32)
        border = border + amplitude * np.cos(k * angle + _uniform(rng, len(u), 0, 2 * np.pi))
    return expit((border - np.hypot(u, v)) / softness).astype(np.float32)


def _positive(field: Field) -> Field:
    return np.maximum(field, 0).astype(np.float32)


def _uniform(rng: np.random.Generator, n: int, low: float, high: float) -> Field:
    return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

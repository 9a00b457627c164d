"""Micrographs of a labelled cell among neighbours: from densities of chromatin and spindle to camera counts.

The chain is that of a wide-field microscope: stains, out-of-focus haze, bleed-through, point spread, uneven
illumination, photon (Poisson) noise, read-out noise, eight bits.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, gaussian_filter

from cellml.data import nuclei

NEIGHBOURS = 4
RADIUS = 0.15  # nuclear radius, as a share of the image's side
MASK_SHARE = 0.15  # a mask's outline is not widened beyond this share of its image

Batch = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Cells:
    """Where each cell of a batch lies: centre and nuclear radius in pixels, angle of the spindle axis; each (N,)."""

    x: npt.NDArray[np.floating]
    y: npt.NDArray[np.floating]
    angle: npt.NDArray[np.floating]
    radius: npt.NDArray[np.floating]

    def coordinates(self, size: int) -> tuple[Batch, Batch]:
        """Along and across the spindle axis in nuclear radii, each (N, size, size)."""
        x, y, radius, cos, sin = (
            a.astype(np.float32)[:, None, None]
            for a in (self.x, self.y, self.radius, np.cos(self.angle), np.sin(self.angle))
        )
        axis = np.arange(size, dtype=np.float32)
        dx, dy = (axis - x) / radius, (axis[:, None] - y) / radius
        return dx * cos + dy * sin, dy * cos - dx * sin


def slide_looks(slides: int, hardness: float, rng: np.random.Generator) -> npt.NDArray[np.void]:
    """How each slide was stained and recorded, (slides,) records, drawn from ranges that widen with hardness."""
    ranges = {
        "scale": (0.92, 1.08),
        "dna": (0.65, 1.2),
        "tubulin": (0.45 - 0.4 * hardness, 0.8 - 0.45 * hardness),
        "cytoplasm": (0.06, 0.16),
        "bleed": (0.25, 0.5),  # chromatin stain seen in the green channel
        "background": (0.02, 0.07 + 0.06 * hardness),
        "gradient": (0.1, 0.35 + 0.3 * hardness),
        "direction": (0, 2 * np.pi),
        "defocus": (0.1, 0.3 + 0.4 * hardness),
        "photons": (150 - 80 * hardness, 300 - 150 * hardness),
        "exposure": (230, 330),
    }
    look = np.zeros(slides, dtype=[(name, np.float32) for name in ranges])
    for name, (low, high) in ranges.items():
        look[name] = rng.uniform(low, high, slides)
    return look


def render(
    labels: npt.NDArray, look: npt.NDArray[np.void], *, size: int, hardness: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Draw a batch of images.

    Args:
        labels: (N,) stage names.
        look: (N,) records of the slide each image comes from.
        size: side in pixels.
        hardness: 0 to 1.
        rng: source of every random number.

    Returns:
        Images (N, size, size, 3) uint8 and masks (N, size, size) bool: the chromatin and spindle of the labelled cell.
    """
    n = len(labels)
    centre = (size - 1) / 2
    direction, distance = rng.uniform(0, 2 * np.pi, n), rng.uniform(0.16, 0.22, n) * size
    cells = _Cells(
        x=centre + distance * np.cos(direction),
        y=centre + distance * np.sin(direction),
        angle=rng.uniform(0, 2 * np.pi, n),
        radius=RADIUS * size * look["scale"] * rng.uniform(0.93, 1.07, n),
    )
    u, v = cells.coordinates(size)
    chromatin, spindle = np.zeros((2, n, size, size), dtype=np.float32)
    for stage in nuclei.STAGES:
        rows = np.flatnonzero(labels == stage)
        if len(rows):
            cell = nuclei.draw(stage, u[rows], v[rows], RADIUS * size, hardness=hardness, rng=rng)
            chromatin[rows], spindle[rows] = cell.chromatin, cell.spindle
    masks = _masks(chromatin, spindle)
    spread = (1 + rng.uniform(-0.35, 0.35, (2, n, 1, 1))).astype(np.float32)
    own = chromatin * spread[0]
    around = _neighbours(cells, size, hardness, rng)
    image = _expose(own + around, spindle * spread[1], look, hardness, rng)
    return image, masks


def _masks(chromatin: Batch, spindle: Batch) -> npt.NDArray[np.bool_]:
    core = (chromatin > 0.15) | (spindle > 0.2)
    wide = binary_dilation(core, structure=np.ones((1, 3, 3)))  # the optics spread the cell beyond its outline
    fits = wide.mean(axis=(1, 2), keepdims=True) <= MASK_SHARE
    return np.where(fits, wide, core)


def _neighbours(cells: _Cells, size: int, hardness: float, rng: np.random.Generator) -> Batch:
    n = len(cells.x)
    total = np.zeros((n, size, size), dtype=np.float32)
    for _ in range(NEIGHBOURS):
        along, side = rng.uniform(0, size, n), rng.integers(0, 4, n)
        edge = np.where(side < 2, -0.05, 1.05) * size + rng.normal(0, 0.05 * size, n)
        x, y = np.where(side % 2 == 0, edge, along), np.where(side % 2 == 0, along, edge)
        far = np.hypot(x - cells.x, y - cells.y) > 2.7 * cells.radius
        rows = np.flatnonzero(far & (rng.random(n) < 0.6))
        m = len(rows)
        if m:
            radius = cells.radius[rows] * rng.uniform(0.85, 1.15, m)
            u, v = _Cells(x[rows], y[rows], rng.uniform(0, 2 * np.pi, m), radius).coordinates(size)
            condensation = rng.uniform(0, 0.15 + 0.25 * hardness, (m, 1, 1)).astype(np.float32)
            gain = rng.uniform(0.7, 1.2, (m, 1, 1)).astype(np.float32)
            total[rows] = np.maximum(total[rows], gain * nuclei.nucleus(u, v, RADIUS * size, condensation, rng))
    return total


def _expose(
    chromatin: Batch,
    spindle: Batch,
    look: npt.NDArray[np.void],
    hardness: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    n, size, _ = chromatin.shape
    s = {name: look[name][:, None, None] for name in look.dtype.names or ()}
    free = 1 - np.clip(chromatin / 0.3, 0, 1)
    web = np.exp(-((nuclei.noise(rng, chromatin.shape, 0.03 * size) / 0.35) ** 2))
    body = np.clip(0.5 + 0.4 * nuclei.noise(rng, chromatin.shape, 0.12 * size), 0, None)
    cytoplasm = s["cytoplasm"] * body * free
    chromatin = chromatin + _debris(n, size, rng)
    haze = gaussian_filter(chromatin, (0, 0.1 * size, 0.1 * size), mode="nearest", truncate=3)
    blue = s["dna"] * (chromatin + (0.1 + 0.2 * hardness) * haze)
    green = s["tubulin"] * spindle + cytoplasm * (0.5 + 1.2 * web) + s["bleed"] * blue
    red = 0.7 * cytoplasm + 0.45 * s["bleed"] * blue
    scene = np.stack([red, green, blue], axis=-1)

    sharp, wide = (0.011 * size, 0.028 * size)
    blurred = gaussian_filter(scene, (0, sharp, sharp, 0), truncate=3)
    halo = gaussian_filter(scene, (0, wide, wide, 0), truncate=3)
    defocus = np.clip(s["defocus"] + rng.uniform(-0.1, 0.1, (n, 1, 1)), 0, 1)[..., None].astype(np.float32)
    scene = (1 - defocus) * blurred + defocus * halo

    axis = np.linspace(-1, 1, size, dtype=np.float32)
    ramp = np.cos(s["direction"]) * axis[None, None, :] + np.sin(s["direction"]) * axis[None, :, None]
    light = (1 + s["gradient"] * ramp)[..., None]
    tint = np.array([0.7, 1.0, 1.1], dtype=np.float32)
    photons = s["photons"][..., None]
    counts = rng.poisson(np.maximum((scene + s["background"][..., None] * tint) * light, 0) * photons)
    read = rng.normal(0, 1.0 + 1.5 * hardness, counts.shape)
    return np.clip((counts + read) / photons * s["exposure"][..., None] + 4, 0, 255).astype(np.uint8)


def _debris(n: int, size: int, rng: np.random.Generator) -> Batch:
    spots = np.zeros((n, size, size), dtype=np.float32)
    for _ in range(3):
        rows = np.flatnonzero(rng.random(n) < 0.25)
        spots[rows, rng.integers(0, size, len(rows)), rng.integers(0, size, len(rows))] += rng.uniform(2, 8, len(rows))
    return gaussian_filter(spots, (0, 0.012 * size, 0.012 * size), truncate=3)

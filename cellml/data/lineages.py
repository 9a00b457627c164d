"""Simulated lineages: when each cell of a movie passes through its stages, and where it moves.

Time is counted in frames and is continuous; a mother's track ends as telophase begins, when its two daughters' start.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellml.data.nuclei import STAGES

MEAN_FRAMES = {"interphase": 60.0, "prophase": 5.0, "metaphase": 6.0, "anaphase": 3.5, "telophase": 5.0}
SPREAD = 9.0  # shape of the gamma distribution of durations: a third of the mean is its standard deviation
SHORTEST = 2  # frames of a track
DIVIDING = 0.7  # share of the first cells that come to divide in a movie of 40 frames or so
REACH = 2.1  # nuclear radii between centres below which cells push each other apart


@dataclass(frozen=True)
class Cell:
    """One cell: its track number, its mother's (0: none), its frames [first, end) and when its stages begin.

    `birth` is when telophase began (minus infinity for a cell that was there at the start), `grown` when it ended,
    then prophase, metaphase, anaphase and the division (infinity where they never come).
    """

    track: int
    parent: int
    first: int
    end: int
    birth: float
    grown: float
    prophase: float
    metaphase: float
    anaphase: float
    division: float

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Frames of the track, (T,)."""
        return np.arange(self.first, self.end, dtype=np.float64)

    @property
    def stages(self) -> npt.NDArray[np.object_]:
        """Stage in each frame, (T,) str."""
        t = self.times
        index = 1 * (t >= self.prophase) + (t >= self.metaphase) + (t >= self.anaphase)
        return np.where(t < self.grown, STAGES[4], np.array(STAGES, dtype=object)[index])


def lineages(cells: int, frames: int, rng: np.random.Generator) -> list[Cell]:
    """Cells of one movie: those of its first frame and all that descend from them, mothers before daughters.

    Args:
        cells: cells in the first frame.
        frames: frames of the movie.
        rng: source of every random number.
    """
    waiting: list[tuple[int, int, float, float, float]] = []  # mother, first frame, birth, grown, prophase
    for _ in range(cells):
        enters = rng.uniform(-10, frames) if rng.random() < DIVIDING else np.inf
        waiting.append((0, 0, -np.inf, -np.inf, enters))
    found: list[Cell] = []
    while waiting:
        parent, first, birth, grown, prophase = waiting.pop(0)
        metaphase = prophase + _duration("prophase", rng)
        anaphase = metaphase + _duration("metaphase", rng)
        division = anaphase + _duration("anaphase", rng)
        late = max(0.0, first + SHORTEST - division)
        if frames - SHORTEST < division < frames:  # too late for daughters of a few frames
            late = frames - division
        prophase, metaphase, anaphase, division = (t + late for t in (prophase, metaphase, anaphase, division))
        track, end = len(found) + 1, int(min(np.ceil(division), frames))
        found.append(Cell(track, parent, first, end, birth, grown, prophase, metaphase, anaphase, division))
        if end < frames:
            ends = division + _duration("telophase", rng)
            waiting += [(track, end, division, ends, ends + _duration("interphase", rng)) for _ in range(2)]
    return found


@dataclass(frozen=True)
class Path:
    """Where a cell lies in each of its T frames: centre in pixels and angle of the spindle axis; each (T,)."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    angle: npt.NDArray[np.float64]


def paths(cells: list[Cell], size: int, radius: float, rng: np.random.Generator) -> dict[int, Path]:
    """Paths of cells that wander, drift together, push each other apart and stay in the field.

    Args:
        cells: of one movie, mothers before daughters.
        size: side of the field in pixels.
        radius: of a nucleus in pixels.
        rng: source of every random number.

    Returns:
        Track -> path. A daughter starts beside where its mother ended, along the mother's axis.
    """
    frames = max(cell.end for cell in cells)
    drift = np.cumsum(rng.normal(0, 0.05, (frames, 2)), axis=0) + rng.uniform(-0.15, 0.15, 2)
    place: dict[int, npt.NDArray[np.float64]] = {}
    angle: dict[int, float] = {}
    kept: dict[int, list[tuple[float, float, float]]] = {cell.track: [] for cell in cells}
    for now in range(frames):
        alive = [cell for cell in cells if cell.first <= now < cell.end]
        born = [cell for cell in alive if cell.first == now]
        for cell in born:
            if not cell.parent:
                place[cell.track] = rng.uniform(0.2, 0.8, 2) * size
                angle[cell.track] = rng.uniform(0, 2 * np.pi)
                continue
            turn = angle[cell.parent]
            side = -1.0 if any(other.parent == cell.parent for other in born[: born.index(cell)]) else 1.0
            place[cell.track] = place[cell.parent] + side * 0.95 * radius * np.array([np.cos(turn), np.sin(turn)])
            angle[cell.track] = turn + rng.normal(0, 0.15)
        where = np.array([place[cell.track] for cell in alive])
        for _ in range(40 if now == 0 else 3):  # first of all, cells find room
            where = where + _push(where, radius, size)
        if now:
            where = where + drift[now] + rng.normal(0, 0.035 * radius, where.shape)
        for cell, centre in zip(alive, where, strict=True):
            place[cell.track] = centre
            angle[cell.track] += rng.normal(0, 0.07)
            kept[cell.track].append((centre[0], centre[1], angle[cell.track]))
    return {track: Path(*np.array(rows).T) for track, rows in kept.items()}


def _push(where: npt.NDArray[np.float64], radius: float, size: int) -> npt.NDArray[np.float64]:
    """A step, (N, 2), away from neighbours that are too near and from the border of the field."""
    apart = where[:, None] - where[None]
    distance = np.hypot(apart[..., 0], apart[..., 1])
    near = np.clip(REACH * radius - distance, 0, None) * (distance > 0)
    step = 0.15 * (apart / np.maximum(distance, 1e-6)[..., None] * near[..., None]).sum(axis=1)
    return step + 0.3 * (np.clip(where, radius, size - radius) - where)


def _duration(stage: str, rng: np.random.Generator) -> float:
    return max(1.5, float(rng.gamma(SPREAD, MEAN_FRAMES[stage] / SPREAD)))

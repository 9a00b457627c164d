"""Frames a second of an overlay: a field of 615 x 615 pixels with 50 outlined and labelled cells.

Drawing alone, and drawing with the MP4 and GIF being written; by the clock, and by the processor time that they took,
which other work on the machine does not change.

    python benchmarks/overlay.py [--side 615] [--cells 50] [--frames 60] [--out build/overlay.json]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from scipy.ndimage import gaussian_filter

from cellml.sequences.cells import Cells
from cellml.sequences.movies import opened
from cellml.sequences.overlay import video
from cellml.sequences.overlay.panel import Words
from cellml.sequences.overlay.render import Renderer
from cellml.sequences.said import Said

STAGES = ("interphase", "prophase", "metaphase", "anaphase", "telophase")
POINTS = 60  # of an outline


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of movies with outlines and labels.")
    parser.add_argument("--side", type=int, default=615)
    parser.add_argument("--cells", type=int, default=50)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("build/overlay.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said = field(folder / "movie.tif", given.side, given.cells, given.frames)
        movie = opened(folder / "movie.tif")
        renderers: list[Renderer] = []
        found = {
            "prepared": timed(lambda: renderers.append(Renderer(movie, said, Words("model", interval=10)))),
            "drawn": timed(lambda: [renderers[0].frame(t) for t in range(given.frames)]),
            "written": timed(lambda: video.write(iter(renderers[0]), given.frames, folder, "overlay", 10)),
        }
        height, width = renderers[0].frame(0).shape[:2]
    for what, spent in found.items():
        rates = " and ".join(f"{given.frames / spent[key]:.1f} frames/s by {key}" for key in spent)
        print(f"{what}: {rates}")
    print(f"{given.cells} cells in {given.side} x {given.side} pixels, shown as {width} x {height}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found | vars(given) | {"out": str(given.out)}, indent=2) + "\n", encoding="utf-8")


def timed(work: Callable[[], object]) -> dict[str, float]:
    start, used = time.perf_counter(), time.process_time()
    work()
    return {"clock": time.perf_counter() - start, "processor": time.process_time() - used}


def field(path: Path, side: int, count: int, frames: int) -> Said:
    """A movie of wandering cells with uneven outlines, written to a path."""
    rng = np.random.default_rng(0)
    start, radius = rng.uniform(20, side - 20, (count, 2)), rng.uniform(10, 18, (count, 1))
    angle = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    shape = radius * (1 + gaussian_filter(rng.normal(0, 0.4, (count, POINTS)), (0, 3), mode="wrap"))
    steps = np.cumsum(rng.normal(0, 1.5, (frames, count, 2)), axis=0)
    places = np.clip(start + steps, 10, side - 10)
    pixels = rng.normal(14, 3, (frames, side, side)).clip(0, 40).astype(np.uint8)
    for t in range(frames):
        x, y = places[t].astype(int).T
        glow = np.zeros((side, side))
        glow[y, x] = 9e4
        pixels[t] += gaussian_filter(glow, 6).clip(0, 210).astype(np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    table = pd.DataFrame({
        "track": np.tile(np.arange(count).astype(str), frames),
        "frame": np.repeat(np.arange(frames), count),
        "x": places[..., 0].ravel(),
        "y": places[..., 1].ravel(),
        "observed": rng.choice(STAGES, frames * count),
    })  # fmt: skip
    outlines = [
        places[t, k] + shape[k][:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        for t in range(frames)
        for k in range(count)
    ]
    cells = Cells.of(table, outlines)
    return Said(cells, rng.dirichlet(np.full(len(STAGES), 0.3), len(cells)), STAGES)


if __name__ == "__main__":
    main()

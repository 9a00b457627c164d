"""What it costs to keep a fit's state: seconds and size of one, and the share of a fit's time that writing them takes.

python benchmarks/checkpoint.py [--backbone resnet10t] [--size 64] [--every 30] [--out checkpoint.json]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cellml import config
from cellml.data import prepare
from cellml.training import fit as fitting
from cellml.training import kept
from cellml.training.checkpoint import Checkpoint, State


def main() -> None:
    parser = argparse.ArgumentParser(description="What keeping the state of a fit costs.")
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--count", type=int, default=960, help="simulated images")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--every", type=float, default=30.0, help="train.checkpoint")
    parser.add_argument("--out", type=Path, default=Path("build/checkpoint.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(given, Path(scratch))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2))
    print(json.dumps(result, indent=2))


def measure(given: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """Of one fit: its states, and of the last one how long it takes to read."""
    options = {"count": given.count, "size": given.size, "seed": 0}
    experiment = config.parse(
        {
            "name": "checkpoint",
            "data": {"source": "simulated", "group": "slide", "options": options},
            "input": {"size": given.size},
            "model": {"backbone": given.backbone},
            "train": {"epochs": given.epochs, "ema": 0.99, "checkpoint": given.every},
        }
    )
    dataset = prepare.prepare(experiment, scratch)
    rows = {"train": dataset.manifest.split("train"), "validation": dataset.manifest.split("val")}
    fitting.fit(experiment.replace({"train.epochs": 1}), dataset, **rows, progress=False)  # first use of everything
    start = time.perf_counter()
    place = kept.folder(experiment, dataset, dataset.manifest.split("train", "val"))
    finding = time.perf_counter() - start
    with timed() as spent:
        done = fitting.fit(experiment, dataset, **rows, progress=False, checkpoint=place)
    result = {"fit_seconds": done.seconds, "place_seconds": finding, "states": float(len(spent))}
    if spent:
        states = list(place.glob("state.pt"))
        start = time.perf_counter()
        found = Checkpoint(place, 0, lambda: "").load()
        result |= {
            "megabytes": states[0].stat().st_size / 1e6,
            "write_seconds": statistics.median(spent),
            "read_seconds": time.perf_counter() - start,
        }
        assert found is None
    return result | {"share": (sum(spent) + finding) / done.seconds}


@contextmanager
def timed() -> Iterator[list[float]]:
    """Seconds of each state that is written within a block."""
    plain, spent = Checkpoint.offer, list[float]()

    def offer(self: Checkpoint, made: Callable[[], State]) -> None:
        before = self.path.stat().st_mtime_ns if self.path.exists() else 0
        start = time.perf_counter()
        plain(self, made)
        seconds = time.perf_counter() - start
        if self.path.exists() and self.path.stat().st_mtime_ns != before:
            spent.append(seconds)

    Checkpoint.offer = offer  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        Checkpoint.offer = plain  # type: ignore[method-assign]


if __name__ == "__main__":
    main()

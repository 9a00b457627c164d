"""Share of a trial's time that is spent logging: into SQLite, and to a tracking server on loopback.

A trial of ordinary size on simulated nuclei: what it logs is timed by the clock where the trial waits for it, and by
the processor time of the threads that deliver; the end of the run, where it waits for what is left, is counted too.

    python benchmarks/log_overhead.py [--backbone resnet10t] [--images 2000] [--epochs 5] [--repeats 3]
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from tracking_server import serving

from cellml import trial
from cellml.config import Experiment
from cellml.data.prepare import Dataset, prepare
from cellml.tracking import courier, entries, runs


class Watch:
    """Seconds that calls took, by the clock; calls within calls are counted once."""

    def __init__(self) -> None:
        self.seconds, self._inside = 0.0, 0

    def around(self, call: Callable) -> Callable:
        @wraps(call)
        def timed(*given: Any, **options: Any) -> Any:
            start, self._inside = time.perf_counter(), self._inside + 1
            try:
                return call(*given, **options)
            finally:
                self._inside -= 1
                if not self._inside:
                    self.seconds += time.perf_counter() - start

        return timed


def main() -> None:
    parser = argparse.ArgumentParser(description="Share of a trial's time spent logging.")
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/log_overhead.json"))
    given = parser.parse_args()
    experiment = Experiment(name="overhead").replace(
        {
            "data.source": "simulated",
            "data.options": {"count": given.images, "slides": 24},
            "data.group": "slide",
            "input.size": given.size,
            "model.backbone": given.backbone,
            "train.epochs": given.epochs,
            "explain.count": 0,
        }
    )
    found = []
    with tempfile.TemporaryDirectory(prefix="cellml-overhead-") as name:
        os.environ["CELLML_CACHE"] = f"{name}/cache"
        dataset = prepare(experiment)
        database = Path(name) / "mlflow.db"
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{database}"
        found += [measure(experiment, dataset, "SQLite") for _ in range(given.repeats)]
        with serving(database) as address:
            os.environ["MLFLOW_TRACKING_URI"] = address
            found += [measure(experiment, dataset, "server") for _ in range(given.repeats)]
    for store in ("SQLite", "server"):
        own = [one for one in found if one["store"] == store]
        middle = {key: statistics.median(one[key] for one in own) for key in own[0] if key != "store"}
        print(f"{store}: " + ", ".join(f"{key} {value:.4f}" for key, value in middle.items()))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(experiment: Experiment, dataset: Dataset, store: str) -> dict[str, Any]:
    """One trial: its seconds, those spent logging, and their share."""
    with runs.parent("sweep", experiment) as parent, watched() as (waited, delivered):
        start, used = time.perf_counter(), time.process_time()
        block = runs.child(parent, "trial")
        child = waited.around(block.__enter__)()
        trial.run(experiment, dataset, child, progress=False)
        waited.around(block.__exit__)(None, None, None)
        seconds, processor = time.perf_counter() - start, time.process_time() - used
    return {
        "store": store,
        "seconds": seconds,
        "waited": waited.seconds,
        "share": waited.seconds / seconds,
        "delivering": delivered[0],
        "processor_share": delivered[0] / processor,
    }


@contextmanager
def watched() -> Iterator[tuple[Watch, list[float]]]:
    """Time what waits for the store, and the processor time of deliveries in whichever thread."""
    watch, delivered = Watch(), [0.0]
    put, settle, deliver = courier.put, courier.settle, entries.deliver

    def counted(*given: Any) -> None:
        start = time.thread_time()
        try:
            deliver(*given)
        finally:
            delivered[0] += time.thread_time() - start

    courier.put, courier.settle, entries.deliver = watch.around(put), watch.around(settle), counted
    try:
        yield watch, delivered
    finally:
        courier.put, courier.settle, entries.deliver = put, settle, deliver


if __name__ == "__main__":
    main()

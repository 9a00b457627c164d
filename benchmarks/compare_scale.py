"""Seconds that `compare` takes to collect its entries, and registration to find its own, in a store of 10,000 runs.

The store is filled by SQL: one study of so many trials, 1,000 of them registered as versions of ten models.

    python benchmarks/compare_scale.py [--runs 5000 10000] [--versions 1000] [--out build/compare_scale.json]
"""

import argparse
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tracking_server import serving

from cellml.tracking import registry, runs
from cellml.tracking.run import Run

NAME, STUDY, MODELS, METRICS, PARAMS = "cells", "cells-study", 10, 40, 12


def main() -> None:
    parser = argparse.ArgumentParser(description="Collecting for compare in a large store.")
    parser.add_argument("--runs", type=int, nargs="*", default=[5000, 10000])
    parser.add_argument("--versions", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("build/compare_scale.json"))
    given = parser.parse_args()
    found = []
    for count in given.runs:
        with tempfile.TemporaryDirectory(prefix="cellml-scale-") as name:
            database = Path(name) / "mlflow.db"
            with tracking(f"sqlite:///{database}"):
                fill(database, count, min(given.versions, count))
                found.append({"runs": count, "store": "SQLite", **measure()})
            with serving(database) as address, tracking(address):
                found.append({"runs": count, "store": "server", **measure()})
        for one in found[-2:]:
            print(
                ", ".join(
                    f"{key} {round(value, 2) if isinstance(value, float) else value}" for key, value in one.items()
                )
            )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure() -> dict[str, float]:
    """Seconds a step, by its name."""
    experiment_id = runs.connect(NAME)  # also opens the store
    entries, all_versions = _timed(lambda: registry.entries(NAME, "all"))
    known, settings = _timed(lambda: runs.settings(entry.run_id for entry in entries))
    assert len(known) == len(entries)
    champions, few = _timed(lambda: registry.entries(NAME, "champions"))
    assert len(champions) == MODELS
    _, own = _timed(lambda: registry.versions(entries[0].name, {"cellml.run_id": entries[-1].run_id}))
    trials, children = _timed(lambda: runs.trials(experiment_id, STUDY))
    assert runs.children(Run("0" * 31 + "f", experiment_id)) == []
    steps = {"entries": all_versions, "settings": settings, "champions": few, "own": own, "trials": children}
    steps["collect"] = all_versions + settings
    assert len(trials) >= len(entries)
    clock = {name: float(seconds[0]) for name, seconds in steps.items()}
    return {"versions": len(entries)} | clock | {f"{name}_processor": float(s[1]) for name, s in steps.items()}


def fill(database: Path, count: int, versions: int) -> None:
    """A study of so many trials under one parent, the first of them registered."""
    experiment_id = int(runs.connect(NAME))
    ids = [f"{k:032x}" for k in range(1, count + 2)]
    parent, *trials = ids
    models = [f"{NAME}.backbone{k}" for k in range(MODELS)]
    with sqlite3.connect(database) as store:
        store.executemany(
            "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage, "
            "artifact_uri, experiment_id) VALUES (?, ?, 'LOCAL', 'lab', 'FINISHED', ?, ?, 'active', ?, ?)",
            [(one, f"t{k}", k, k + 1, f"file:///{one}", experiment_id) for k, one in enumerate(ids)],
        )
        store.executemany(
            "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
            [(key, value, one) for k, one in enumerate(trials) for key, value in _tags(k, parent).items()],
        )
        store.executemany(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
            [(f"train.p{j}", str(j), one) for one in ids for j in range(PARAMS)],
        )
        store.executemany(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, 0, 1, 0, ?)",
            [(f"val/m{j}", j / METRICS, one) for one in trials for j in range(METRICS)],
        )
        store.executemany("INSERT INTO registered_models (name, creation_time) VALUES (?, 0)", [(m,) for m in models])
        named = [(models[k % MODELS], k // MODELS + 1, trials[k]) for k in range(versions)]
        store.executemany(
            "INSERT INTO model_versions (name, version, creation_time, last_updated_time, current_stage, source, "
            "run_id, status) VALUES (?, ?, 0, 0, 'None', ?, ?, 'READY')",
            [(name, version, f"models:/m-{one}", one) for name, version, one in named],
        )
        store.executemany(
            "INSERT INTO model_version_tags (key, value, name, version) VALUES (?, ?, ?, ?)",
            [
                (key, value, name, version)
                for name, version, one in named
                for key, value in {
                    registry.EXPERIMENT: NAME,
                    registry.BACKBONE: name.partition(".")[2],
                    registry.STRATEGY: "none",
                    "cellml.run_id": one,
                }.items()
            ],
        )
    for model in models:
        registry.set_alias(model, registry.CHAMPION, "1")


def _tags(number: int, parent: str) -> dict[str, str]:
    fixed = {"mlflow.parentRunId": parent, "cellml.study": STUDY, "cellml.kind": "trial"}
    return fixed | {"cellml.trial": str(number)} | {f"cellml.t{j}": "x" for j in range(6)}


def _timed(call: Callable):
    """What a call gives, and its seconds: by the clock, and of this process's processor."""
    start, used = time.perf_counter(), time.process_time()
    found = call()
    return found, np.array([time.perf_counter() - start, time.process_time() - used])


@contextmanager
def tracking(uri: str) -> Iterator[None]:
    os.environ["MLFLOW_TRACKING_URI"] = uri
    yield


if __name__ == "__main__":
    main()

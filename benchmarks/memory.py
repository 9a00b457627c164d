"""Resident memory after each trial of a sweep of small trials: does anything pile up?

python benchmarks/memory.py [--trials 30] [--out memory.json]
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import psutil

from cellml import config


def main() -> None:
    parser = argparse.ArgumentParser(description="Resident memory after trial N over that after trial 5.")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("build/memory.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch}/mlflow.db"
        os.environ["CELLML_CACHE"] = f"{scratch}/cache"
        result = measure(Path(scratch), given.trials)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2))
    print(f"resident memory, trial {given.trials} over trial 5: {result['ratio']:.3f}")


def measure(scratch: Path, trials: int) -> dict[str, object]:
    from cellml.data.prepare import prepare
    from cellml.sweep import objective, space
    from cellml.sweep import study as studies
    from cellml.tracking import runs

    experiment = config.parse(
        {
            "name": "memory",
            "data": {"source": "simulated", "options": {"count": 200, "size": 48}},
            "input": {"size": 48},
            "train": {"epochs": 1},
            "sweep": {"trials": trials, "backbones": ["test_resnet", "resnet10t"], "strategies": ["none", "balanced"]},
            "explain": {"count": 4},
        }
    )
    dataset = prepare(experiment)
    study = studies.open_study(f"sqlite:///{scratch}/optuna.db", "memory", experiment, True)
    planned = space.plan(experiment, trials)
    studies.enqueue(study, planned)
    megabytes = []
    with runs.parent("sweep", experiment) as parent:
        while objective.run_one(study, planned, experiment, dataset, parent, progress=False) is not None:
            megabytes.append(psutil.Process().memory_info().rss / 1e6)
            print(f"trial {len(megabytes)}: {megabytes[-1]:.0f} MB", flush=True)
    return {"megabytes": megabytes, "ratio": megabytes[-1] / megabytes[4]}


if __name__ == "__main__":
    main()

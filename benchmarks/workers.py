"""Trials an hour for 1, 2 and 4 workers with one thread each, on a machine that also carries the servers.

Optuna's study is in PostgreSQL, runs go to a tracking server over HTTP. Clocked from the first trial's start to the
last one's end, without the seconds in which processes import their libraries.

    python benchmarks/workers.py [--workers 1 2 4] [--trials 8] [--epochs 6] [--repeats 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import optuna
import postgres
from optuna.trial import TrialState
from tracking_server import serving

from cellml.sweep import storage

EXPERIMENT = """
name: NAME
data: {source: simulated, group: slide, options: {count: 1500, slides: 24}}
input: {size: 48}
model: {backbone: resnet10t}
train: {epochs: EPOCHS, batch_size: 32, threads: 1}
sweep: {trials: TRIALS, strategies: [none]}
explain: {count: 0}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Trials an hour by the number of workers.")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/workers.json"))
    given = parser.parse_args()
    rates: dict[int, list[float]] = {count: [] for count in given.workers}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cellml-workers-")))
        os.environ["CELLML_STORAGE"] = stack.enter_context(postgres.server())
        os.environ["MLFLOW_TRACKING_URI"] = stack.enter_context(serving(folder / "mlflow.db"))
        os.environ |= {"OMP_NUM_THREADS": "1", "CELLML_CACHE": str(folder / "cache")}
        for repeat in range(given.repeats):
            for count in given.workers:
                rate = measure(folder, f"w{count}-{repeat}", count, given.trials, given.epochs)
                print(f"{count} workers: {rate:.1f} trials an hour", flush=True)
                rates[count].append(rate)
    middle = {count: statistics.median(found) for count, found in rates.items()}
    for count, rate in middle.items():
        print(f"{count} workers: {rate:.0f} trials an hour, {rate / middle[given.workers[0]]:.2f} of the first")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(rates, indent=2) + "\n", encoding="utf-8")


def measure(folder: Path, name: str, workers: int, trials: int, epochs: int) -> float:
    """Trials an hour of one sweep."""
    text = EXPERIMENT.replace("NAME", name).replace("EPOCHS", str(epochs)).replace("TRIALS", str(trials))
    (folder / "sweep.yaml").write_text(text, encoding="utf-8")
    words = ["sweep", "--experiment", "sweep.yaml", "--workers", str(workers)]
    subprocess.run([sys.executable, "-m", "cellml", *words], cwd=folder, check=True, capture_output=True)
    opened = storage.open_storage(os.environ["CELLML_STORAGE"])
    (study,) = [found.study_name for found in opened.get_all_studies() if found.study_name.startswith(f"{name}-")]
    ended = optuna.load_study(study_name=study, storage=opened).get_trials(states=(TrialState.COMPLETE,))
    assert len(ended) == trials
    first = min(t.datetime_start for t in ended if t.datetime_start)
    last = max(t.datetime_complete for t in ended if t.datetime_complete)
    return 3600 * trials / (last - first).total_seconds()


if __name__ == "__main__":
    main()

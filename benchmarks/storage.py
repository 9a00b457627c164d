"""Seconds that a trial spends on the study's database, against the trials that are in it already.

Takes a trial from the queue, asks the sampler for its values and reports one epoch with the pruner's answer, as a sweep
of mode `best` does: in memory, SQLite, PostgreSQL, a gRPC proxy before that PostgreSQL, and MLflow's own storage for
Optuna. All take turns, so that each sees the same machine.

    python benchmarks/storage.py [--trials 100 1000 5000] [--repeats 15] [--out build/storage.json]
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import optuna
import postgres
from mlflow import MlflowClient
from mlflow.optuna.storage import MlflowStorage
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models

from cellml import config
from cellml.sweep import batched, queue, space
from cellml.sweep import storage as storages
from cellml.sweep import study as studies

EPOCHS = 10  # reported by every trial that is there already
MLFLOW_REPEATS = 3  # each takes seconds
EXPERIMENT = config.parse(
    {
        "name": "storage",
        "sweep": {
            "mode": "best",
            "backbones": ["resnet18", "resnet34", "efficientnet_b0"],
            "strategies": ["none", "balanced", "smote"],
            "space": {
                "train.lr": {"low": 1e-5, "high": 1e-2, "log": True},
                "train.weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
                "train.batch_size": [16, 32, 64],
                "train.epochs": {"low": 5, "high": 50, "integer": True},
            },
        },
    }
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of claim + suggest + report.")
    parser.add_argument("--trials", type=int, nargs="*", default=[100, 1000, 5000])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--mlflow", type=int, default=100, help="trials up to which MLflow's own storage takes part")
    parser.add_argument("--out", type=Path, default=Path("build/storage.json"))
    given = parser.parse_args()
    found = measure(sorted(given.trials), given.repeats, given.mlflow)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(counts: list[int], repeats: int, mlflow: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch}/mlflow.db"
        url = stack.enter_context(postgres.server())
        file = f"sqlite:///{scratch}/optuna.db"
        opened = {
            "memory": optuna.storages.InMemoryStorage(),
            "SQLite": storages.open_storage(file),
            "PostgreSQL": storages.open_storage(url),
            "gRPC proxy": storages.open_storage(stack.enter_context(_proxy(url))),
            "MLflow": MlflowStorage(MlflowClient().create_experiment("storage")),
        }
        databases = {"SQLite": file, "PostgreSQL": url, "gRPC proxy": url}
        tried = {name: _study(storage, name) for name, storage in opened.items()}
        rng = np.random.default_rng(0)
        present = 0
        for count in counts:
            added = [_finished(rng) for _ in range(count - present)]
            present = count
            for name, study in tried.items():
                if name in databases:
                    _fill(databases[name], study, added)
                elif name == "memory" or count <= mlflow:
                    study.add_trials(added)
            seconds: dict[str, list[dict[str, float]]] = {name: [] for name in tried}
            for repeat in range(repeats + 1):  # the first reads what another process wrote, and is left out
                for name, study in tried.items():
                    if name != "MLflow" or (count <= mlflow and repeat <= MLFLOW_REPEATS):
                        seconds[name].append(_one(study, f"{count}/{repeat}"))
            found += [_row(name, count, rows[1:]) for name, rows in seconds.items() if rows]
            memory = next(row["seconds"] for row in found if row["trials"] == count)
            for row in found:
                if row["trials"] == count:
                    row["added"] = row["seconds"] - memory  # type: ignore[operator]
                    print(_line(row), flush=True)
    return found


@contextmanager
def _proxy(url: str) -> Iterator[str]:
    """The command that serves a database, in a process of its own as on a lab's server."""
    port = postgres.free_port()
    command = [sys.executable, "-m", "cellml", "proxy", "--storage", url, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("localhost", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"grpc://localhost:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _study(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    """A study as a sweep opens it, in any storage."""
    return studies.open_study(storage, name, EXPERIMENT, maximize=True)


def _finished(rng: np.random.Generator) -> optuna.trial.FrozenTrial:
    """A complete trial of the sweep's space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=int(rng.integers(2**31))))
    trial = study.ask()
    space.suggest(trial, EXPERIMENT)
    values = np.sort(rng.random(EPOCHS))
    for epoch, value in enumerate(values):
        trial.report(float(value), epoch)
    trial.set_user_attr("key", f"best/{rng.integers(2**31)}")
    trial.set_user_attr("run_id", rng.bytes(16).hex())
    study.tell(trial, float(values[-1]))
    return study.trials[0]


def _fill(url: str, study: optuna.Study, trials: list[optuna.trial.FrozenTrial]) -> None:
    """Trials in one transaction; `add_trials` takes one each, minutes for thousands."""
    storage = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
    first = len(study.get_trials(deepcopy=False))
    with storage.scoped_session() as session:
        session.add_all(_row_of(trial, number, study._study_id) for number, trial in enumerate(trials, first))
        session.commit()
    storage.remove_session()
    storage.engine.dispose()


def _row_of(trial: optuna.trial.FrozenTrial, number: int, study_id: int) -> models.TrialModel:
    reports = models.TrialIntermediateValueModel
    return models.TrialModel(
        number=number,
        study_id=study_id,
        state=trial.state,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=[
            models.TrialParamModel(
                param_name=name,
                param_value=distribution.to_internal_repr(trial.params[name]),
                distribution_json=distribution_to_json(distribution),
            )
            for name, distribution in trial.distributions.items()
        ],
        values=[
            models.TrialValueModel(
                objective=0, value=trial.value, value_type=models.TrialValueModel.TrialValueType.FINITE
            )
        ],
        user_attributes=[
            models.TrialUserAttributeModel(key=key, value_json=json.dumps(value))
            for key, value in trial.user_attrs.items()
        ],
        intermediate_values=[
            reports(
                step=step, intermediate_value=value, intermediate_value_type=reports.TrialIntermediateValueType.FINITE
            )
            for step, value in trial.intermediate_values.items()
        ],
    )


def _one(study: optuna.Study, key: str) -> dict[str, float]:
    """Seconds of one trial's steps."""
    planned = [space.Planned(key, {})]
    study.enqueue_trial({}, user_attrs={"key": key})
    times = [time.perf_counter()]
    trial = queue.claim(study, planned)
    assert trial is not None
    times.append(time.perf_counter())
    with batched.block():
        space.suggest(trial, EXPERIMENT)
    trial.set_user_attr("run_id", key)
    times.append(time.perf_counter())
    trial.report(0.9, 0)
    with batched.block():
        trial.should_prune()
    times.append(time.perf_counter())
    study.tell(trial, 0.9)
    times.append(time.perf_counter())
    return dict(zip(("claim", "suggest", "report", "tell"), map(float, np.diff(times)), strict=True))


def _row(name: str, count: int, rows: list[dict[str, float]]) -> dict[str, object]:
    medians = {step: median(row[step] for row in rows) for step in rows[0]}
    return {
        "storage": name,
        "trials": count,
        "seconds": median(row["suggest"] + row["report"] for row in rows),
        **medians,
        "repeats": len(rows),
    }


def _line(row: dict[str, object]) -> str:
    steps = ", ".join(f"{step} {1000 * row[step]:.1f}" for step in ("claim", "suggest", "report", "tell"))  # type: ignore[operator]
    return (
        f"{row['trials']} trials, {row['storage']}: suggest + report {1000 * row['seconds']:.1f} ms, "  # type: ignore[operator]
        f"{1000 * row['added']:+.1f} to memory ({steps})"  # type: ignore[operator]
    )


if __name__ == "__main__":
    main()

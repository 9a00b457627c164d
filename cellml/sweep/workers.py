"""Several processes on one sweep: each claims trials from the shared study until none is left."""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import optuna

from cellml import config
from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.sweep import objective, space
from cellml.sweep import study as studies
from cellml.tracking import runs
from cellml.tracking.run import Run

POLL = 0.5  # seconds between looks at the study
MAX_DEATHS = 3  # worker processes that may die in a row before the sweep stops


def run(
    experiment: Experiment,
    study: optuna.Study,
    planned: list[space.Planned],
    url: str,
    dataset: Dataset,
    parent: Run,
    deadline: float,
    say: Callable[[str], None],
) -> None:
    """Start the workers, report finished trials, replace a worker that died, and wait.

    Raises:
        UserError: workers keep dying.
    """
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // experiment.sweep.workers)
    own = experiment if experiment.train.threads else experiment.replace({"train.threads": threads})
    remaining = None if deadline == float("inf") else deadline - time.monotonic()
    arguments = (own.yaml(), study.study_name, url, len(planned), parent.id, parent.experiment_id, remaining)

    def start() -> BaseProcess:
        process = context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        return process

    pool = [start() for _ in range(min(experiment.sweep.workers, len(planned)))]
    reported = {t.number for t in studies.finished(study, planned)}
    deaths = 0
    try:
        while any(p.is_alive() for p in pool):
            time.sleep(POLL)
            for trial in studies.finished(study, planned):
                if trial.number not in reported:
                    reported.add(trial.number)
                    deaths = 0
                    value = trial.user_attrs.get("reason", trial.state.name.lower())
                    value = f"{trial.value:.4f}" if trial.value is not None else value
                    say(f"trial {len(reported)}/{len(planned)}  {space.spoken(trial.params)}: {value}")
            for place, process in enumerate(pool):
                if process.exitcode not in (None, 0):
                    deaths += 1
                    if deaths > MAX_DEATHS:
                        raise UserError(
                            f"{deaths} worker processes died in a row (exit {process.exitcode}); try fewer workers"
                        )
                    for trial in studies.recover(study):
                        if run_id := trial.user_attrs.get("run_id"):
                            runs.close(run_id, "KILLED", "its worker died; the trial is run again")
                    studies.enqueue(study, planned)
                    pool[place] = start()
    finally:
        for process in pool:
            if process.is_alive():
                process.terminate()
        for process in pool:
            process.join(timeout=30)


def _work(
    yaml: str, name: str, url: str, count: int, parent_id: str, experiment_id: str, seconds: float | None
) -> None:
    import yaml as reader

    from cellml.data.prepare import prepare

    deadline = float("inf") if seconds is None else time.monotonic() + seconds
    experiment = config.parse(reader.safe_load(yaml))
    try:
        dataset = prepare(experiment)
        study = studies.open_study(url, name, experiment, objective.maximize(experiment))
        planned = space.plan(experiment, count)
        parent = Run(parent_id, experiment_id)
        while time.monotonic() < deadline:
            if objective.run_one(study, planned, experiment, dataset, parent, progress=False) is None:
                return
    except KeyboardInterrupt:
        return

"""Several processes on one sweep: each claims trials from the shared study until none is left."""

import multiprocessing
import os
import sys
import time
from multiprocessing.process import BaseProcess

import optuna
import yaml

from cellml import config
from cellml.config import Experiment
from cellml.data.prepare import Dataset, prepare
from cellml.errors import UserError
from cellml.secrets import hidden, traced
from cellml.sweep import objective, queue, reconcile, space, storage
from cellml.sweep import study as studies
from cellml.sweep.life import Watch
from cellml.sweep.work import POLL, News, work
from cellml.tracking.run import Run
from cellml.training import device

MAX_DEATHS = 3  # worker processes that may die in a row before the sweep stops


def run(
    experiment: Experiment,
    study: optuna.Study,
    planned: list[space.Planned],
    url: str,
    dataset: Dataset,
    parent: Run,
    deadline: float,
    news: News,
) -> None:
    """Start the workers, say what finished, replace a worker that died, and wait for those of other machines, too.

    Without workers of its own, `sweep.workers: 0`, all trials are left to processes that join.

    Raises:
        UserError: workers keep dying.
    """
    if sys.platform == "linux":
        context = multiprocessing.get_context("forkserver")  # a process that has the libraries, and no device, forks
    else:
        context = multiprocessing.get_context("spawn")
    context.set_forkserver_preload([__name__])
    own = pinned(experiment, experiment.sweep.workers)
    devices = device.visible() if own.train.device in ("auto", "cuda") else []

    def start(place: int) -> BaseProcess:
        remaining = None if deadline == float("inf") else deadline - time.monotonic()
        card = devices[place % len(devices)] if len(devices) > 1 else None
        variables = dict(os.environ) | ({} if card is None else {"CUDA_VISIBLE_DEVICES": card})
        arguments = (own.yaml(), study.study_name, url, len(planned), parent.id, parent.experiment_id, remaining)
        process = context.Process(target=_work, args=(*arguments, variables), daemon=True)
        process.start()
        return process

    pool = [start(place) for place in range(min(experiment.sweep.workers, len(planned)))]
    watch, deaths = Watch(), 0
    try:
        while any(p.is_alive() for p in pool) or (time.monotonic() < deadline and _left(study, planned)):
            time.sleep(POLL)
            reconcile.recover(study, watch)
            deaths = 0 if news.tell() else deaths
            if not pool:
                queue.enqueue(study, planned)
                news.wait()
            for place, process in enumerate(pool):
                if process.exitcode not in (None, 0):
                    deaths += 1
                    if deaths > MAX_DEATHS:
                        raise UserError(
                            f"{deaths} worker processes died in a row (exit {process.exitcode}); try fewer workers"
                        )
                    pool[place] = start(place)
    finally:
        for process in pool:
            if process.is_alive():
                process.terminate()
        for process in pool:
            process.join(timeout=30)


def pinned(experiment: Experiment, workers: int) -> Experiment:
    """The experiment with its share of this machine's cores as threads, unless it says how many."""
    threads = max(1, device.cores() // max(1, workers))
    return experiment if experiment.train.threads else experiment.replace({"train.threads": threads})


def _left(study: optuna.Study, planned: list[space.Planned]) -> bool:
    return len(queue.finished(study, planned)) < len(planned)


def _work(
    settings: str,
    name: str,
    url: str,
    count: int,
    parent_id: str,
    experiment_id: str,
    seconds: float | None,
    variables: dict[str, str],
) -> None:
    os.environ.clear()
    os.environ.update(variables)  # the forking process has those of its own start; CUDA reads them at its first use
    deadline = float("inf") if seconds is None else time.monotonic() + seconds
    experiment = config.parse(yaml.safe_load(settings))
    try:
        dataset = prepare(experiment)
        study = studies.open_study(
            storage.open_storage(url), name, experiment, objective.maximize(experiment), alone=False
        )
        work(
            study, space.plan(experiment, count), experiment, dataset, Run(parent_id, experiment_id), deadline=deadline
        )
    except KeyboardInterrupt:
        return
    except UserError as error:
        sys.exit(hidden(f"error: {error}"))
    except Exception as error:  # multiprocessing would print it as it is
        sys.exit(traced(error))

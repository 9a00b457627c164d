"""A sweep on a Ray cluster: each trial a task with the processors that it needs, run elsewhere when its node dies."""

import contextlib
import functools
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna

from cellml.config import Experiment
from cellml.errors import Away, UserError
from cellml.sweep import join, objective, queue, reconcile, session, space, storage
from cellml.sweep import study as studies
from cellml.sweep.life import Watch
from cellml.sweep.work import POLL, News
from cellml.tracking import environment

RETRIES = 3  # of a task whose node or process died, by Ray itself
MAX_DEATHS = 3  # tasks that may fail in a row before the sweep stops
PARTING = 30.0  # seconds for tasks to give their trials back
STORE = 100 * 2**20  # bytes of memory for objects of a cluster of one's own, which has none to share
PASSED = ("MLFLOW_", "AWS_", "CELLML_")  # environment variables that tasks need, too
OWN = ("MLFLOW_RUN_ID",)  # and one that is this process's


def run(
    experiment: Experiment, study: optuna.Study, planned: list[space.Planned], url: str, deadline: float, news: News
) -> None:
    """Submit a task for each trial that waits, say what finished, and wait for trials of other processes, too.

    The cluster is that of RAY_ADDRESS, else one of this machine for the length of the sweep.

    Raises:
        UserError: Ray is not installed, its cluster does not answer or does not reach the databases, or tasks keep
            failing.
    """
    with _connected(news) as ray:
        _check(ray, experiment, url, news)
        sweep = experiment.sweep
        task = ray.remote(num_cpus=sweep.cpus, num_gpus=sweep.gpus, max_retries=RETRIES)(_run)
        given = (url, study.study_name, _variables(), os.getcwd())
        watch, deaths, tasks = Watch(), 0, list[Any]()
        try:
            while tasks or (time.monotonic() < deadline and len(queue.finished(study, planned)) < len(planned)):
                reconcile.recover(study, watch)
                if time.monotonic() < deadline:
                    queue.enqueue(study, planned)
                    tasks += [task.remote(*given) for _ in range(_wanted(study, planned, len(tasks)))]
                if not tasks:
                    news.wait()
                    time.sleep(POLL)
                    continue
                ended, tasks = ray.wait(tasks, num_returns=len(tasks), timeout=POLL)
                reasons = [reason for one in ended if (reason := _failure(ray, one))]
                deaths = deaths + len(reasons) if reasons and not news.tell() else 0
                if deaths > MAX_DEATHS:
                    raise UserError(f"{deaths} tasks on Ray failed in a row; the last one: {reasons[-1]}")
                news.tell()
        finally:
            _stop(ray, tasks)
            with storage.patience(objective.IMPATIENCE), contextlib.suppress(Away):
                reconcile.recover(study, watch)


def _run(url: str, name: str, variables: dict[str, str], folder: str) -> bool:
    """In a process of Ray's: claim a trial and run it; False when none was left."""
    os.environ.update(variables)
    if os.path.isdir(folder):  # this machine, or a file system that nodes share
        os.chdir(folder)
    study, left, experiment, dataset = _joined(url, name)
    if left.until is not None and time.time() > left.until:
        return False
    planned = space.plan(experiment, left.trials)
    return objective.run_one(study, planned, experiment, dataset, left.run, progress=False) is not None


@functools.cache  # a process of Ray's runs one trial after another: images are prepared once, draws go on
def _joined(url: str, name: str) -> tuple[Any, ...]:
    opened = storage.open_storage(url)
    left = session.read(opened.get_study_user_attrs(opened.get_study_id_from_name(name)))
    assert left is not None
    session.check_code(name, left)
    settings = left.settings
    threads = settings.train.threads or max(1, int(settings.sweep.cpus))
    experiment = settings.replace({"train.threads": threads})
    dataset = join.prepared(experiment)
    session.check_data(name, left, dataset)
    study = studies.open_study(opened, name, experiment, objective.maximize(experiment), alone=False)
    return study, left, experiment, dataset


@contextmanager
def _connected(news: News) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            "Expected the package ray for sweep.engine ray, found none; pip install 'cellml[ray]', or use engine local"
        ) from None
    address = os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": STORE}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(
            f"Expected a Ray cluster at {address or 'this machine'}, got: {line}; start it, or correct RAY_ADDRESS"
        ) from None
    finally:
        for number, handler in handlers.items():  # Ray's own would end the process without closing its runs
            signal.signal(number, handler)
    try:
        news.say(f"trials run on Ray, {address or 'on this machine alone'}")
        yield ray
    finally:
        ray.shutdown()


def _check(ray: Any, experiment: Experiment, url: str, news: News) -> None:
    sweep, nodes = experiment.sweep, [node for node in ray.nodes() if node["Alive"]]
    machines = {node["NodeManagerHostname"] for node in nodes}
    files = [u for u in (url, environment.tracking_uri()) if u.startswith("sqlite")]
    if files and machines != {socket.gethostname()}:
        raise UserError(
            f"Expected databases that every machine reaches for Ray on {', '.join(sorted(machines))}, got {files[0]}; "
            "set MLFLOW_TRACKING_URI to a server and storage to postgresql:// or grpc://"
        )
    has = [node["Resources"] for node in nodes]
    if not any(r.get("CPU", 0) >= sweep.cpus and r.get("GPU", 0) >= sweep.gpus for r in has):
        asked = f"{sweep.cpus:g} CPUs and {sweep.gpus:g} GPUs"
        if not os.environ.get("RAY_ADDRESS"):
            cpus, gpus = (max(r.get(kind, 0) for r in has) for kind in ("CPU", "GPU"))
            raise UserError(
                f"Expected {asked} for a trial (sweep.cpus, sweep.gpus), this machine has {cpus:g} and {gpus:g}; "
                "ask for fewer, or name a cluster with RAY_ADDRESS"
            )
        news.say(f"no node of the cluster has {asked}: waiting for one")


def _variables() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if name.startswith(PASSED) and name not in OWN}
    return found | {"MLFLOW_TRACKING_URI": environment.tracking_uri()}


def _wanted(study: optuna.Study, planned: list[space.Planned], tasks: int) -> int:
    """How many tasks more: one a waiting trial, less those that have been submitted and have not claimed theirs yet."""
    return max(0, len(queue.waiting(study, planned)) - max(0, tasks - len(queue.running(study, planned))))


def _failure(ray: Any, task: Any) -> str | None:
    """Why a task that has ended failed; None where it did not.

    Raises:
        UserError: what the user can put right: it would be the same for every task.
    """
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        return f"{type(error.cause).__name__}: {error.cause}"
    except ray.exceptions.RayError as error:
        return str(error).strip().splitlines()[0]
    return None


def _stop(ray: Any, tasks: list[Any]) -> None:
    """Interrupt tasks as Ctrl-C would, so that they close their runs and give their trials back; end the others."""
    for task in tasks:
        ray.cancel(task)
    if tasks:
        _, tasks = ray.wait(tasks, num_returns=len(tasks), timeout=PARTING)
    for task in tasks:
        ray.cancel(task, force=True)

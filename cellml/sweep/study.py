"""The Optuna study behind a sweep: opening, planning, claiming and finishing trials, across processes and restarts."""

import os
import socket
import warnings
from pathlib import Path
from typing import Any

import optuna
import psutil
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from cellml.config import Experiment
from cellml.errors import UserError
from cellml.sweep import space

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
FOLDS_OF_WILCOXON = 10  # with fewer folds the signed-rank test has next to no power
MAX_INTERRUPTIONS = 3  # a trial that took its process down this often is not tried again


def default_url(tracking_uri: str) -> str:
    """An SQLite file next to the tracking store, or in the working folder where that is a server."""
    if tracking_uri.startswith("sqlite:///"):
        return f"sqlite:///{Path(tracking_uri.removeprefix('sqlite:///')).parent / 'optuna.db'}"
    return "sqlite:///optuna.db"


def open_study(url: str, name: str, experiment: Experiment, maximize: bool) -> optuna.Study:
    """Create a study or go on with the one of that name.

    Raises:
        UserError: the database cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        engine: dict[str, Any] = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True, **engine})
        if url.startswith("sqlite"):
            _serialise(storage.engine)
        return optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=_sampler(experiment),
            pruner=_pruner(experiment),
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
        )
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"Expected an Optuna database at {url.split('@')[-1]}: {reason}") from None


def enqueue(study: optuna.Study, planned: list[space.Planned]) -> None:
    """Queue what is planned and neither finished, running nor already waiting."""
    taken = {_key(t) for t in study.get_trials(deepcopy=False) if not _interrupted(t)}
    for item in planned:
        if item.key not in taken:
            repeat = int(item.key.rsplit("/", 1)[-1]) if item.params else 0
            study.enqueue_trial(item.params, user_attrs={"key": item.key, "repeat": repeat})


def claim(study: optuna.Study, planned: list[space.Planned]) -> optuna.Trial | None:
    """Take the next waiting trial of the plan for this process, or None when there is none; atomic over processes."""
    keys = {item.key for item in planned}
    storage = study._storage  # the queue's compare-and-set has no other public door
    for waiting in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if _key(waiting) not in keys:
            continue
        try:
            if not storage.set_trial_state_values(waiting._trial_id, state=TrialState.RUNNING):
                continue
        except (optuna.exceptions.UpdateFinishedTrialError, KeyError):
            continue
        trial = optuna.Trial(study, waiting._trial_id)
        trial.set_user_attr("process", _this_process())
        return trial
    return None


def recover(study: optuna.Study) -> list[FrozenTrial]:
    """Fail RUNNING trials whose process on this machine is gone, so that they are queued again; returns them."""
    lost = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _alive(trial.user_attrs.get("process")):
            interrupt(study, trial)
            lost.append(trial)
    return lost


def interrupt(study: optuna.Study, trial: FrozenTrial | optuna.Trial) -> None:
    """Give a RUNNING trial up as interrupted: it does not count and is queued again, unless it keeps happening."""
    key = trial.user_attrs.get("key")
    earlier = sum(_interrupted(t) and _key(t) == key for t in study.get_trials(deepcopy=False))
    if earlier + 1 < MAX_INTERRUPTIONS:
        study._storage.set_trial_user_attr(trial._trial_id, "interrupted", True)
    else:
        study._storage.set_trial_user_attr(trial._trial_id, "reason", f"interrupted {earlier + 1} times")
    study.tell(trial.number, state=TrialState.FAIL)


def finished(study: optuna.Study, planned: list[space.Planned] | None = None) -> list[FrozenTrial]:
    """Trials that count: complete, pruned or failed, not interrupted; of the plan where one is given."""
    keys = None if planned is None else {item.key for item in planned}
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    return [t for t in trials if not _interrupted(t) and (keys is None or _key(t) in keys)]


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were trained to their end."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def best_of_cells(study: optuna.Study, experiment: Experiment) -> dict[tuple[str, str], FrozenTrial]:
    """The best complete trial of every backbone x strategy cell that has one."""
    maximize = study.direction == optuna.study.StudyDirection.MAXIMIZE
    best: dict[tuple[str, str], FrozenTrial] = {}
    for trial in complete(study):
        cell = (trial.params[space.BACKBONE], trial.params[space.STRATEGY])
        held = best.get(cell)
        if held is None or (trial.value > held.value if maximize else trial.value < held.value):  # type: ignore[operator]
            best[cell] = trial
    order = space.cells(experiment)
    return {cell: best[cell] for cell in order if cell in best}


def best_first(trials: list[FrozenTrial], study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials, best first; equal values in order of their number."""
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return sorted(trials, key=lambda t: (sign * t.value, t.number))  # type: ignore[operator]


def _serialise(engine: Engine) -> None:
    """Let each transaction take SQLite's write lock at its start.

    SQLite ignores `SELECT ... FOR UPDATE`, on which Optuna's claim of a waiting trial relies: two processes could claim
    the same one. The recipe is SQLAlchemy's ("Serializable isolation / Savepoints / Transactional DDL").
    """

    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not open transactions of its own

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(engine, "connect", connect)
    sqlalchemy.event.listen(engine, "begin", begin)
    engine.dispose()


def _sampler(experiment: Experiment) -> optuna.samplers.BaseSampler:
    seed = experiment.sweep.seed + os.getpid() % 1009 * (
        experiment.sweep.workers > 1
    )  # workers must not repeat each other
    if experiment.sweep.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, group=True, n_startup_trials=10)


def _pruner(experiment: Experiment) -> optuna.pruners.BasePruner:
    sweep = experiment.sweep
    if sweep.mode == "rank" or sweep.pruner == "none":
        return optuna.pruners.NopPruner()
    if sweep.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=max(1, sweep.warmup_epochs), max_resource=experiment.train.epochs
        )
    warmup = 2 if experiment.train.folds else sweep.warmup_epochs  # a step is a fold, or an epoch; one fold is noise
    if sweep.pruner == "wilcoxon":
        return optuna.pruners.WilcoxonPruner(n_startup_steps=FOLDS_OF_WILCOXON - 1)
    if sweep.pruner == "percentile":
        return optuna.pruners.PercentilePruner(25.0, n_startup_trials=4, n_warmup_steps=warmup)
    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=warmup)


def _key(trial: FrozenTrial) -> str | None:
    return trial.user_attrs.get("key")


def _interrupted(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("interrupted"))


def _this_process() -> dict[str, Any]:
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def _alive(process: dict[str, Any] | None) -> bool:
    if process is None:
        return False
    if process["host"] != socket.gethostname():
        return True  # another machine's trial: only it can tell
    try:
        return abs(psutil.Process(process["pid"]).create_time() - process["started"]) < 2
    except psutil.NoSuchProcess:
        return False

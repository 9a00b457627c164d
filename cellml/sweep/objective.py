"""One Optuna trial as one MLflow child run."""

import contextlib
import traceback
from typing import Any

import optuna
from optuna.trial import TrialState

from cellml import trial as trials
from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.errors import Away
from cellml.evaluation.metrics import higher_is_better
from cellml.secrets import hidden
from cellml.sweep import batched, life, queue, reconcile, space, storage
from cellml.tracking import runs
from cellml.tracking.run import Run

MODE = "model.mode"
SHOWN = ("train.lr", "train.epochs", "train.seed", "input.size")  # params of every trial, swept or not


IMPATIENCE = 5.0  # seconds that an interrupted process waits for a database, to give its trial back


class GivenUp(Exception):
    """Another process took this trial for abandoned, and it is run again: what comes of it here does not count."""

    def __str__(self) -> str:
        return "no sign of life for long: the trial was given up, and is run again"


class Pruned(Exception):
    """Pruned: no better than the median of the others so far; its run ends FINISHED."""

    def __str__(self) -> str:
        return "pruned: behind the other trials at the same epoch or fold"


def run_one(
    study: optuna.Study,
    planned: list[space.Planned],
    experiment: Experiment,
    dataset: Dataset,
    parent: Run,
    progress: bool,
) -> TrialState | None:
    """Claim the next trial of the plan and run it.

    Returns:
        The state it ended in, or None when nothing was left to claim. A failing trial is recorded with its reason.

    Raises:
        KeyboardInterrupt, SystemExit: after the trial was given back to the queue.
    """
    trial = queue.claim(study, planned)
    if trial is None:
        return None
    try:
        with life.beating(study._storage, trial._trial_id):
            return _run(study, trial, experiment, dataset, parent, progress)
    except BaseException:
        # Only an interruption or a lost database arrives here: give the trial back, then stop.
        with storage.patience(IMPATIENCE), contextlib.suppress(Away):  # else whoever watches it gives it up
            queue.interrupt(study, trial)
        raise


def parameters(own: Experiment, experiment: Experiment) -> dict[str, Any]:
    """What a child run logs as params: what tells it from the other trials; its `config.yaml` says the rest."""
    sweep, flat = experiment.sweep, experiment.flat()
    swept = {path for axes in (sweep.space, *sweep.per_backbone.values()) for path in axes}
    shown = {space.BACKBONE, space.STRATEGY, *SHOWN, *swept}
    return {path: value for path, value in own.flat().items() if path in shown or value != flat[path]}


def maximize(experiment: Experiment) -> bool:
    """Whether a larger monitored metric is better."""
    return higher_is_better(experiment.train.monitor)


def _run(
    study: optuna.Study, trial: optuna.Trial, experiment: Experiment, dataset: Dataset, parent: Run, progress: bool
) -> TrialState:
    ends: dict[type[BaseException], str] = {Pruned: "FINISHED", GivenUp: "KILLED"}
    try:
        with batched.block():
            own = space.suggest(trial, experiment)
        tags = _tags(study, own, trial) | reconcile.tags_of(trial)
        with runs.child(parent, _name(own, trial), parameters(own, experiment), tags, ends) as child:
            trial.set_user_attr("run_id", child.id)
            outcome = trials.run(own, dataset, child, on_step=_reporter(trial, own), progress=progress)
            if queue.stored(study, trial).state != TrialState.RUNNING:
                raise GivenUp
            child.metrics({reconcile.SCORE: outcome.score})
        return _told(study, trial, TrialState.COMPLETE, outcome.score)
    except GivenUp:
        return TrialState.FAIL
    except Away:
        raise
    except Pruned:
        return _told(study, trial, TrialState.PRUNED)
    except Exception as error:  # whatever a trial dies of, the sweep goes on and the reason is kept
        reason = hidden(" ".join(f"{type(error).__name__}: {error}".split()))[:500]
        if queue.stored(study, trial).state == TrialState.RUNNING:
            trial.set_user_attr("reason", reason)
            trial.set_user_attr("traceback", hidden(traceback.format_exc())[-2000:])
        return _told(study, trial, TrialState.FAIL)


def _told(study: optuna.Study, trial: optuna.Trial, state: TrialState, value: float | None = None) -> TrialState:
    """Record how a trial ended, unless it was given up meanwhile."""
    try:
        study.tell(trial, value, state=state)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        if queue.stored(study, trial).state == TrialState.RUNNING:
            raise
    return state


def _reporter(trial: optuna.Trial, experiment: Experiment) -> trials.OnStep:
    values: list[float] = []
    running = experiment.train.folds and experiment.sweep.pruner != "wilcoxon"
    prunes = experiment.sweep.mode != "rank" and experiment.sweep.pruner != "none"

    def report(step: int, value: float) -> None:
        values.append(value)
        trial.report(sum(values) / len(values) if running else value, step)
        with batched.block():
            pruned = prunes and trial.should_prune()
        if pruned:
            raise Pruned

    return report


def _name(experiment: Experiment, trial: optuna.Trial) -> str:
    attention = experiment.model.attention
    placed = "" if attention == "none" else f" {attention}"
    axes = (experiment.sweep.space, *experiment.sweep.per_backbone.values())
    if any(MODE in space for space in axes):
        placed += f" {experiment.model.mode}"
    return f"{trial.number:03d} {experiment.model.backbone} {experiment.sampling.strategy}{placed}"


def _tags(study: optuna.Study, experiment: Experiment, trial: optuna.Trial) -> dict[str, str]:
    return {
        "cellml.kind": "trial",
        "cellml.study": study.study_name,
        "cellml.trial": str(trial.number),
        "cellml.cell": f"{experiment.model.backbone} x {experiment.sampling.strategy}",
        "cellml.backbone": experiment.model.backbone,
        "cellml.strategy": experiment.sampling.strategy,
        "cellml.monitor": experiment.train.monitor,
    }

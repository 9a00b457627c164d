"""One Optuna trial as one MLflow child run."""

import traceback
from typing import Any

import optuna
from optuna.trial import TrialState

from cellml import trial as trials
from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.evaluation.metrics import higher_is_better
from cellml.secrets import hidden
from cellml.sweep import space
from cellml.sweep import study as studies
from cellml.tracking import runs
from cellml.tracking.run import Run

MODE = "model.mode"
SHOWN = ("train.lr", "train.epochs", "train.seed", "input.size")  # params of every trial, swept or not


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
    trial = studies.claim(study, planned)
    if trial is None:
        return None
    try:
        return _run(study, trial, experiment, dataset, parent, progress)
    except BaseException:
        # Only an interruption arrives here: give the trial back, then stop.
        studies.interrupt(study, trial)
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
    try:
        own = space.suggest(trial, experiment)
        tags = _tags(study, own, trial)
        with runs.child(parent, _name(own, trial), parameters(own, experiment), tags, {Pruned: "FINISHED"}) as child:
            trial.set_user_attr("run_id", child.id)
            outcome = trials.run(own, dataset, child, on_step=_reporter(trial, own), progress=progress)
        study.tell(trial, outcome.score)
        return TrialState.COMPLETE
    except runs.Away:
        raise  # nothing can be logged: the trial is given back
    except Pruned:
        study.tell(trial, state=TrialState.PRUNED)
        return TrialState.PRUNED
    except Exception as error:  # whatever a trial dies of, the sweep goes on and the reason is kept
        reason = hidden(" ".join(f"{type(error).__name__}: {error}".split()))[:500]
        trial.set_user_attr("reason", reason)
        trial.set_user_attr("traceback", hidden(traceback.format_exc())[-2000:])
        study.tell(trial, state=TrialState.FAIL)
        return TrialState.FAIL


def _reporter(trial: optuna.Trial, experiment: Experiment) -> trials.OnStep | None:
    if experiment.sweep.mode == "rank" or experiment.sweep.pruner == "none":
        return None
    values: list[float] = []

    def report(step: int, value: float) -> None:
        values.append(value)
        running = experiment.train.folds and experiment.sweep.pruner != "wilcoxon"
        trial.report(sum(values) / len(values) if running else value, step)
        if trial.should_prune():
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

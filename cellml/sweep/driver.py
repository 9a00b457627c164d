"""A sweep from start to end: plan, run in this process or several, continue what an earlier command left."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.sweep import choices, objective, plots, space, workers
from cellml.sweep import study as studies
from cellml.tracking import runs
from cellml.tracking.run import Run

Say = Callable[[str], None]


@dataclass(frozen=True)
class Swept:
    """A finished sweep."""

    study: optuna.Study
    planned: list[space.Planned]

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """Every trial of the plan that finished."""
        return studies.finished(self.study, self.planned)


def study_name(experiment: Experiment, dataset: Dataset) -> str:
    """Name of the study: the experiment's, its settings' and its data's digits, so that nothing is mixed."""
    return f"{experiment.name}-{experiment.fingerprint()}-{dataset.manifest.digest[:8]}"


def run(experiment: Experiment, dataset: Dataset, parent: Run, url: str, say: Say, progress: bool = True) -> Swept:
    """Run the sweep, or go on with it.

    Args:
        experiment: with its `sweep` section.
        dataset: prepared data.
        parent: the MLflow run above the trials.
        url: the Optuna database.
        say: prints a line.
        progress: show a bar an epoch.

    Raises:
        UserError: the plan cannot be carried out, or every trial failed.
    """
    name = study_name(experiment, dataset)
    study = studies.open_study(url, name, experiment, objective.maximize(experiment))
    planned = space.plan(experiment, experiment.sweep.trials)
    parent.tags({"cellml.study": name})
    _continue(study, parent, name, say)
    studies.enqueue(study, planned)
    done = len(studies.finished(study, planned))
    count, grid = len(planned), len(space.cells(experiment))
    say(
        f"study {name}: {count} trials asked, {done} done; mode {experiment.sweep.mode}, "
        f"{grid} cells (backbone x strategy)"
    )
    if experiment.sweep.mode == "rank" and count % grid:
        say(
            f"{count} trials do not divide by {grid} cells, some get one more: "
            f"{-(-count // grid) * grid} would be equal"
        )
    deadline = time.monotonic() + experiment.sweep.timeout if experiment.sweep.timeout else float("inf")
    if experiment.sweep.workers > 1:
        workers.run(experiment, study, planned, url, dataset, parent, deadline, say)
    else:
        while time.monotonic() < deadline:
            started = time.monotonic()
            state = objective.run_one(study, planned, experiment, dataset, parent, progress)
            if state is None:
                break
            say(_line(study, planned, time.monotonic() - started))
    swept = Swept(study, planned)
    _check(swept, time.monotonic() >= deadline, say)
    with parent.artifacts() as folder:
        (folder / "sweep").mkdir()
        plots.save(study, folder / "sweep")
        _table(study).to_csv(folder / "sweep" / "trials.csv", index=False)
        scored = choices.table(study)
        if len(scored):
            scored.to_csv(folder / "sweep" / "choices.csv", index=False)
            choices.figure(study, experiment.train.monitor).savefig(folder / "sweep" / "choices.png")
    return swept


def _continue(study: optuna.Study, parent: Run, name: str, say: Say) -> None:
    studies.recover(study)
    adopted = runs.adopt(parent, name)
    alive = {t.user_attrs.get("run_id") for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
    for run_id in adopted.running:
        if run_id not in alive:
            runs.close(run_id, "KILLED", "its process was interrupted; the trial is run again")
    if adopted.ended or adopted.running:
        count = len(adopted.ended) + len(adopted.running)
        say(f"continuing: {count} earlier runs adopted, those interrupted are run again")


def _line(study: optuna.Study, planned: list[space.Planned], seconds: float) -> str:
    done = studies.finished(study, planned)
    last = max(done, key=lambda t: t.datetime_complete or t.datetime_start or t.number)
    value = f"{last.value:.4f}" if last.state == TrialState.COMPLETE else last.state.name.lower()
    reason = f" ({last.user_attrs['reason']})" if last.state == TrialState.FAIL and "reason" in last.user_attrs else ""
    return f"trial {len(done)}/{len(planned)}  {space.spoken(last.params)}: {value}{reason}  [{seconds:.0f} s]"


def _check(swept: Swept, timed_out: bool, say: Say) -> None:
    trials = swept.trials
    failed = [t for t in trials if t.state == TrialState.FAIL]
    if failed and len(failed) == len(trials):
        raise UserError(
            f"all {len(failed)} trials failed; the last one: {failed[-1].user_attrs.get('reason', 'unknown')}"
        )
    states = {state: sum(t.state == state for t in trials) for state in studies.FINISHED}
    say("trials: " + ", ".join(f"{n} {state.name.lower()}" for state, n in states.items() if n))
    if len(trials) < len(swept.planned):
        why = "stopped at the time limit" if timed_out else "other processes are at work on the rest: stopped"
        say(f"{why} with {len(trials)} of {len(swept.planned)} trials; the same command continues")


def _table(study: optuna.Study):
    frame = study.trials_dataframe(attrs=("number", "state", "value", "duration", "params", "user_attrs"))
    return frame.drop(columns=[c for c in frame if c in ("user_attrs_process", "user_attrs_traceback")])

"""A sweep from start to end: plan, run in this process or several, continue what an earlier command left."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.sweep import choices, objective, on_ray, plots, queue, reconcile, session, space, storage, workers
from cellml.sweep import study as studies
from cellml.sweep.work import News, work
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
        return queue.finished(self.study, self.planned)


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
    name, sweep = study_name(experiment, dataset), experiment.sweep
    alone = sweep.workers == 1 and sweep.engine == "local"
    opened = storage.open_storage(url)
    study = studies.open_study(opened, name, experiment, objective.maximize(experiment), alone=alone)
    planned = space.plan(experiment, sweep.trials)
    parent.tags({"cellml.study": name})
    if adopted := runs.adopt(parent, name):
        say(f"continuing: {len(adopted)} earlier runs adopted, those interrupted are run again")
    for line in reconcile.one(study, experiment, parent):
        say(line)
    session.leave(study, experiment, dataset, parent, time.time() + sweep.timeout if sweep.timeout else None)
    queue.enqueue(study, planned)
    count, grid, done = len(planned), len(space.cells(experiment)), len(queue.finished(study, planned))
    say(f"study {name}: {count} trials asked, {done} done; mode {sweep.mode}, {grid} cells (backbone x strategy)")
    if sweep.mode == "rank" and count % grid:
        say(
            f"{count} trials do not divide by {grid} cells, some get one more: "
            f"{-(-count // grid) * grid} would be equal"
        )
    if not sweep.workers and sweep.engine == "local":
        say(f"no workers here: trials run where `cellml worker --study {name}` joins with the same storage")
    deadline = time.monotonic() + sweep.timeout if sweep.timeout else float("inf")
    news = News(study, planned, say)
    if sweep.engine == "ray":
        on_ray.run(experiment, study, planned, url, deadline, news)
    elif alone:
        work(study, planned, experiment, dataset, parent, deadline=deadline, news=news, progress=progress)
    else:
        workers.run(experiment, study, planned, url, dataset, parent, deadline, news)
    reconcile.close_orphans(study, runs.trials(parent.experiment_id, name))  # of workers that died on their way to one
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


def _check(swept: Swept, timed_out: bool, say: Say) -> None:
    trials = swept.trials
    failed = [t for t in trials if t.state == TrialState.FAIL]
    if failed and len(failed) == len(trials):
        raise UserError(
            f"all {len(failed)} trials failed; the last one: {failed[-1].user_attrs.get('reason', 'unknown')}"
        )
    states = {state: sum(t.state == state for t in trials) for state in queue.FINISHED}
    say("trials: " + ", ".join(f"{n} {state.name.lower()}" for state, n in states.items() if n))
    if len(trials) < len(swept.planned):
        why = "stopped at the time limit" if timed_out else "other processes are at work on the rest: stopped"
        say(f"{why} with {len(trials)} of {len(swept.planned)} trials; the same command continues")


def _table(study: optuna.Study):
    frame = study.trials_dataframe(attrs=("number", "state", "value", "duration", "params", "user_attrs"))
    return frame.drop(columns=[c for c in frame if c in ("user_attrs_process", "user_attrs_traceback")])

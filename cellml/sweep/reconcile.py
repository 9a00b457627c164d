"""Optuna and MLflow tell the same story again, after whatever was killed or lost."""

import json
from collections.abc import Sized
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from cellml.config import Experiment
from cellml.errors import UserError
from cellml.sweep import queue, session, space, storage
from cellml.sweep.life import Watch
from cellml.tracking import orphans, runs
from cellml.tracking.run import Run

KEY, CHOSEN = "cellml.key", "cellml.chosen"  # tags of a trial's run, from which its trial can be made again
MIRRORED = "cellml.mirrored"
SCORE = "score"  # metric of a trial's run that is logged last: the run has all it should have
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "FINISHED", TrialState.FAIL: "FAILED"}


def everything(url: str) -> list[str]:
    """Deliver what was left, reconcile every sweep of a database, and close runs that nobody works on any more.

    Returns:
        A line for each thing that was put right.
    """
    opened, said = storage.open_storage(url), runs.deliver_left()
    for found in opened.get_all_studies():
        left = session.read(found.user_attrs)
        if left is None or runs.record(left.run.id) is None:
            said.append(f"{found.study_name}: left alone, its sweep is not in the tracking store here")
            continue
        study = optuna.load_study(study_name=found.study_name, storage=opened)
        try:
            said += [f"{found.study_name}: {line}" for line in one(study, left.settings, left.run)]
        except UserError as error:  # settings that this version does not know, say
            said.append(f"{found.study_name}: left alone: {error}")
    closed = orphans.close_parents()
    return said + [f"run {run_id} closed: {orphans.GONE}" for run_id in closed]


def one(study: optuna.Study, experiment: Experiment, parent: Run) -> list[str]:
    """Reconcile one sweep; returns a line for each thing that was put right."""
    lost = recover(study)
    records = runs.trials(parent.experiment_id, study.study_name)
    closed = close_orphans(study, records)
    mirrored = mirror_runs(study, records, experiment)
    made = mirror_trials(study, records, parent)
    lines: list[tuple[str, Sized]] = [
        ("trials whose process is gone, given up to be run again", lost),
        ("runs closed that no trial runs in", closed),
        ("trials that the Optuna database had lost, taken from their runs in MLflow", mirrored),
        ("trials that had lost their runs in MLflow, each with a run again that has its score alone", made),
    ]
    return [f"{text}: {len(found)}" for text, found in lines if found]


def recover(study: optuna.Study, watch: Watch | None = None) -> list[FrozenTrial]:
    """Give up trials whose process is gone, so that they are queued again; returns them.

    A trial whose run had logged everything is complete; the run of another one ends KILLED.
    """
    watch, lost = watch or Watch(), []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not watch.abandoned(trial):
            continue
        record = runs.record(trial.user_attrs["run_id"]) if "run_id" in trial.user_attrs else None
        if record is not None and record.status == "FINISHED" and SCORE in record.metrics:
            queue.complete(study, trial, record.metrics[SCORE])
            continue
        if queue.interrupt(study, trial, died=True):
            lost.append(trial)
        if record is not None and record.status == "RUNNING":
            runs.close(record.id, "KILLED", "its process ended without notice; the trial is run again")
    return lost


def close_orphans(study: optuna.Study, records: list[runs.Record]) -> list[str]:
    """End runs that count as RUNNING though no trial runs in them; returns their ids.

    A trial learns its run's id after the run was made: until then its number, a tag of the run, tells whose it is.
    """
    every = study.get_trials(deepcopy=False)
    trials = {t.user_attrs["run_id"]: t for t in every if "run_id" in t.user_attrs}
    without = {str(t.number): t for t in every if "run_id" not in t.user_attrs}
    closed = []
    for record in records:
        trial = trials.get(record.id) or without.get(record.tags.get("cellml.trial", ""))
        if record.status != "RUNNING" or (trial is not None and trial.state == TrialState.RUNNING):
            continue
        if trial is None or queue.interrupted(trial):
            runs.close(record.id, "KILLED", "its process was interrupted; the trial is run again")
        else:
            runs.close(record.id, STATUS[trial.state], trial.user_attrs.get("reason"))
        closed.append(record.id)
    return closed


def mirror_trials(study: optuna.Study, records: list[runs.Record], parent: Run) -> list[FrozenTrial]:
    """Make a run for each finished trial whose run is gone from MLflow; returns those trials."""
    known, made = {record.id for record in records}, []
    mirrored = {record.tags.get("cellml.trial") for record in records if MIRRORED in record.tags}
    for trial in queue.finished(study):
        if trial.user_attrs.get("run_id") in known or str(trial.number) in mirrored:
            continue
        name = f"{trial.number:03d} {space.spoken(trial.params)}"
        tags = {"cellml.kind": "trial", "cellml.study": study.study_name, "cellml.trial": str(trial.number)}
        with runs.child(parent, name, trial.params, tags | tags_of(trial) | {MIRRORED: "from Optuna"}) as run:
            if trial.value is not None:
                run.metrics({SCORE: trial.value})
            runs.close(run.id, STATUS[trial.state], trial.user_attrs.get("reason"))
        made.append(trial)
    return made


def mirror_runs(study: optuna.Study, records: list[runs.Record], experiment: Experiment) -> list[runs.Record]:
    """Make a trial for each complete run whose trial is gone from Optuna's database; returns those runs.

    Of two runs of one part of the plan the earlier counts.
    """
    taken = {queue.key(t) for t in queue.finished(study)}
    made = []
    for record in records:
        key = record.tags.get(KEY)
        if record.status != "FINISHED" or SCORE not in record.metrics or key is None or key in taken:
            continue
        trial = _trial(record, experiment)
        if trial is None:
            continue
        study.add_trial(trial)
        taken.add(key)
        made.append(record)
    return made


def tags_of(trial: FrozenTrial | optuna.Trial) -> dict[str, str]:
    """What a trial's run says of it."""
    return {KEY: str(trial.user_attrs.get("key")), CHOSEN: json.dumps(trial.params, sort_keys=True)}


def _trial(record: runs.Record, experiment: Experiment) -> FrozenTrial | None:
    """The trial that a run was; None where this experiment has no such choices."""
    chosen: dict[str, Any] = json.loads(record.tags[CHOSEN])
    key = record.tags[KEY]
    attributes: dict[str, Any] = {"key": key, "run_id": record.id, "mirrored": "from MLflow"}
    attributes |= {"repeat": int(key.rsplit("/", 1)[-1])} if not key.startswith("best/") else {}
    fixed = optuna.trial.FixedTrial(chosen, number=0)
    for name, value in attributes.items():
        fixed.set_user_attr(name, value)
    try:
        space.suggest(fixed, experiment)
    except (ValueError, UserError):
        return None
    return optuna.trial.create_trial(
        params=fixed.params,
        distributions=fixed.distributions,
        user_attrs=attributes,
        value=record.metrics[SCORE],
    )

"""The queue of a sweep's trials: each planned key is run once, whichever processes come and go."""

from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from cellml import processes
from cellml.sweep import space

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
AHEAD = 64  # trials that wait at most: every look at a study reads those that have not finished
MAX_DEATHS = 5  # a trial that took its process down this often without an epoch gained is not tried again


def enqueue(study: optuna.Study, planned: list[space.Planned]) -> int:
    """Queue what is planned and neither finished, running nor already waiting, `AHEAD` at most; returns how many.

    A trial that was interrupted is queued with the values that it had, whoever chose them: it goes on from its
    checkpoint. Processes that queue at once may queue a trial twice; `claim` leaves all but the first of them.
    """
    taken = {key(t) for t in study.get_trials(deepcopy=False) if not interrupted(t)}
    missing = [item for item in planned if item.key not in taken]
    room = AHEAD - len(waiting(study, planned)) if missing else 0
    added = missing[: max(0, room)]
    given_up = {key(t): t.params for t in study.get_trials(deepcopy=False) if interrupted(t)} if added else {}
    for item in added:
        repeat = int(item.key.rsplit("/", 1)[-1]) if item.params else 0
        study.enqueue_trial(item.params or given_up.get(item.key, {}), user_attrs={"key": item.key, "repeat": repeat})
    return len(added)


def claim(study: optuna.Study, planned: list[space.Planned]) -> optuna.Trial | None:
    """Take the next waiting trial of the plan for this process, or None when there is none; atomic over processes."""
    storage = study._storage  # the queue's compare-and-set has no other public door
    for found in waiting(study, planned):
        try:
            if not storage.set_trial_state_values(found._trial_id, state=TrialState.RUNNING):
                continue
        except (optuna.exceptions.UpdateFinishedTrialError, KeyError):
            continue
        trial = optuna.Trial(study, found._trial_id)
        trial.set_user_attr("process", processes.this_process())
        return trial
    return None


def waiting(study: optuna.Study, planned: list[space.Planned]) -> list[FrozenTrial]:
    """Trials of the plan that nobody has claimed yet: of each key that was queued twice, the first."""
    keys = {item.key for item in planned}
    first: set[str | None] = set()
    found = []
    for trial in study.get_trials(deepcopy=False):
        if interrupted(trial) or key(trial) in first:
            continue
        first.add(key(trial))
        if trial.state == TrialState.WAITING and key(trial) in keys:
            found.append(trial)
    return found


def running(study: optuna.Study, planned: list[space.Planned]) -> list[FrozenTrial]:
    """Trials of the plan that processes work on, here or elsewhere."""
    keys = {item.key for item in planned}
    return [t for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if key(t) in keys]


def interrupt(study: optuna.Study, trial: FrozenTrial | optuna.Trial, died: bool = False) -> bool:
    """Give a RUNNING trial up as interrupted: it does not count and is queued again by the next `enqueue`.

    Args:
        study: of the trial.
        trial: to give up.
        died: its process ended without notice, maybe because of it: a trial of which that keeps happening has failed.

    Returns:
        False where another process was faster.
    """
    own = trial.user_attrs.get("key")
    deaths = [t for t in study.get_trials(deepcopy=False) if t.user_attrs.get("died") and key(t) == own]
    storage, number = study._storage, _in_place([*deaths, stored(study, trial)])
    try:
        if died and number >= MAX_DEATHS:
            storage.set_trial_user_attr(trial._trial_id, "reason", f"its process died {number} times in a row")
        else:
            storage.set_trial_user_attr(trial._trial_id, "interrupted", True)
            if died:
                storage.set_trial_user_attr(trial._trial_id, "died", True)
        return storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False


def complete(study: optuna.Study, trial: FrozenTrial, value: float) -> bool:
    """End a RUNNING trial of a process that is gone; False where another process was faster."""
    try:
        return study._storage.set_trial_state_values(trial._trial_id, state=TrialState.COMPLETE, values=[value])
    except optuna.exceptions.UpdateFinishedTrialError:
        return False


def stored(study: optuna.Study, trial: FrozenTrial | optuna.Trial) -> FrozenTrial:
    """A trial as the database has it."""
    return study._storage.get_trial(trial._trial_id)


def finished(study: optuna.Study, planned: list[space.Planned] | None = None) -> list[FrozenTrial]:
    """Trials that count: complete, pruned or failed, not interrupted; of the plan where one is given."""
    keys = None if planned is None else {item.key for item in planned}
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    return [t for t in trials if not interrupted(t) and (keys is None or key(t) in keys)]


def key(trial: FrozenTrial) -> Any:
    """Which part of the plan a trial is."""
    return trial.user_attrs.get("key")


def interrupted(trial: FrozenTrial) -> bool:
    """Whether a trial was given up, to be run again."""
    return bool(trial.user_attrs.get("interrupted"))


def _in_place(deaths: list[FrozenTrial]) -> int:
    """How many of the last deaths came without an epoch more than before."""
    furthest, count = -1, 0
    for trial in deaths:
        reached = trial.last_step or 0
        furthest, count = (reached, 1) if reached > furthest else (furthest, count + 1)
    return count

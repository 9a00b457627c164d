"""One process's part in a sweep: trial after trial until none is left, here or elsewhere."""

import time
from collections.abc import Callable

import optuna
from optuna.trial import TrialState

from cellml.config import Experiment
from cellml.data.prepare import Dataset
from cellml.sweep import objective, queue, reconcile, space
from cellml.sweep.life import Watch
from cellml.tracking.run import Run

POLL = 1.0  # seconds between looks at the study while others are at work
Say = Callable[[str], None]


class News:
    """Says which trials have finished, whoever ran them."""

    def __init__(self, study: optuna.Study, planned: list[space.Planned], say: Say) -> None:
        self.study, self.planned, self.say = study, planned, say
        self.told = {t.number for t in queue.finished(study, planned)}
        self._waiting = False

    def tell(self) -> int:
        """A line for each trial that is news; returns how many."""
        found = [t for t in queue.finished(self.study, self.planned) if t.number not in self.told]
        for trial in sorted(found, key=lambda t: (str(t.datetime_complete), t.number)):
            self.told.add(trial.number)
            self.say(f"trial {len(self.told)}/{len(self.planned)}  {_spoken(trial)}")
        return len(found)

    def wait(self) -> None:
        """Say once that others are at work."""
        if not self._waiting:
            left = len(self.planned) - len(queue.finished(self.study, self.planned))
            self.say(f"waiting for {left} trials of other processes")
            self._waiting = True


def work(
    study: optuna.Study,
    planned: list[space.Planned],
    experiment: Experiment,
    dataset: Dataset,
    parent: Run,
    *,
    deadline: float,
    news: News | None = None,
    goes_on: Callable[[], bool] = lambda: True,
    progress: bool = False,
) -> int:
    """Claim and run trials; wait for those of other processes, and take over what they abandon.

    Args:
        study: shared by all processes.
        planned: the whole plan.
        experiment: with its `sweep` section.
        dataset: prepared data.
        parent: the MLflow run above the trials.
        deadline: of `time.monotonic`; no trial starts after it.
        news: told after each trial.
        goes_on: asked before each trial.
        progress: show a bar an epoch.

    Returns:
        How many trials ended here.
    """
    watch, count = Watch(), 0
    while time.monotonic() < deadline and goes_on():
        reconcile.recover(study, watch)
        added = queue.enqueue(study, planned)
        if objective.run_one(study, planned, experiment, dataset, parent, progress) is not None:
            count += 1
        elif not added:
            if not queue.running(study, planned):
                break
            if news is not None:
                news.wait()
            time.sleep(POLL)
        if news is not None:
            news.tell()
    return count


def _spoken(trial: optuna.trial.FrozenTrial) -> str:
    value = f"{trial.value:.4f}" if trial.state == TrialState.COMPLETE else trial.state.name.lower()
    reason = trial.user_attrs.get("reason") if trial.state == TrialState.FAIL else None
    seconds = f"  [{trial.duration.total_seconds():.0f} s]" if trial.duration else ""
    return f"{space.spoken(trial.params)}: {value}{f' ({reason})' if reason else ''}{seconds}"

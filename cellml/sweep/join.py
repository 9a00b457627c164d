"""A worker from outside: joins sweeps that a command on another machine, or an earlier one, has begun."""

import time
from collections.abc import Callable

from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import TrialState

from cellml.config import Experiment
from cellml.data.prepare import Dataset, prepare
from cellml.errors import Away, UserError, near
from cellml.secrets import hidden
from cellml.sweep import objective, session, space, storage
from cellml.sweep import study as studies
from cellml.sweep.session import Session
from cellml.sweep.work import News, work
from cellml.sweep.workers import pinned
from cellml.tracking import runs

PAUSE = 5.0  # seconds between looks for a sweep to join
Say = Callable[[str], None]
_datasets: dict[str, Dataset] = {}


def join(url: str, name: str, data: str, wait: bool, say: Say) -> int:
    """Take part in a sweep, or in each that has trials to run.

    Args:
        url: the Optuna database.
        name: the study's name, or its beginning where one study alone begins so; empty: every open sweep.
        data: folder or s3:// prefix instead of the experiment's own; the content has to be the same.
        wait: stay when there is nothing to do, for sweeps to come.
        say: prints a line.

    Returns:
        How many trials ended here.

    Raises:
        UserError: no such sweep, other code or other data than those it was started with, or another tracking store.
    """
    opened = storage.open_storage(url)
    if name and not wait:
        found = _named(opened, name)
        return _part(opened, found.study_name, _session(found), data, say)
    count, refused, joined = 0, set[str](), False
    while True:
        ended = 0
        for found in [_named(opened, name)] if name else opened.get_all_studies():
            left = _session(found) if name else session.read(found.user_attrs)
            if left is None or found.study_name in refused or not (_has_trials(opened, found) and _is_open(left)):
                continue
            joined = True
            try:
                ended += _part(opened, found.study_name, left, data, say)
            except UserError as error:
                if name or isinstance(error, Away):
                    raise
                refused.add(found.study_name)
                say(f"not joined: {error}")
        count += ended
        if not ended:
            if not wait:
                break
            time.sleep(PAUSE)
    if not joined:
        say(
            f"no sweep with trials that wait in {hidden(url)}: name another database with storage or CELLML_STORAGE, "
            "or stay for sweeps to come with wait"
        )
    return count


def _part(opened: BaseStorage, name: str, left: Session, data: str, say: Say) -> int:
    session.check_code(name, left)
    if runs.record(left.run.id) is None:
        raise UserError(
            f"Expected run {left.run.id} of sweep {name} in the tracking store here, found none; "
            "set MLFLOW_TRACKING_URI to the one that the sweep was started with"
        )
    experiment = pinned(left.settings if not data else left.settings.replace({"data.path": data}), 1)
    dataset = prepared(experiment)
    session.check_data(name, left, dataset)
    study = studies.open_study(opened, name, experiment, objective.maximize(experiment), alone=False)
    planned = space.plan(experiment, left.trials)
    say(f"joined {name}: {len(planned)} trials asked")
    news = News(study, planned, say)
    remaining = float("inf") if left.until is None else time.monotonic() + left.until - time.time()
    count = work(
        study, planned, experiment, dataset, left.run, deadline=remaining, news=news, goes_on=lambda: _is_open(left)
    )
    say(f"{count} trials of {name} ended here")
    return count


def prepared(experiment: Experiment) -> Dataset:
    """The data of an experiment, kept for the next sweep of the same."""
    key = experiment.model_dump_json(include={"data", "split", "seed"})
    if key not in _datasets:
        _datasets.clear()
        _datasets[key] = prepare(experiment)
    return _datasets[key]


def _is_open(left: Session) -> bool:
    """Whether the sweep's command is still at work, or died without a word; one that was stopped is not."""
    record = runs.record(left.run.id)
    return record is not None and record.status == "RUNNING"


def _has_trials(opened: BaseStorage, found: FrozenStudy) -> bool:
    return bool(opened.get_all_trials(found._study_id, deepcopy=False, states=(TrialState.WAITING,)))


def _session(found: FrozenStudy) -> Session:
    left = session.read(found.user_attrs)
    if left is None:
        raise UserError(
            f"Expected a sweep of this platform, got the study {found.study_name}, which says nothing of an "
            "experiment; name one that `cellml sweep` has printed"
        )
    return left


def _named(opened: BaseStorage, name: str) -> FrozenStudy:
    known = {found.study_name: found for found in opened.get_all_studies()}
    if name in known:
        return known[name]
    begin = [study for study in known if study.startswith(name)]
    if len(begin) > 1:
        raise UserError(
            f"Expected the name of one study, got {name!r}, with which {len(begin)} begin, sweeps of different "
            f"settings or data: {', '.join(sorted(begin)[:5])}; give the whole name"
        )
    if not begin:
        raise UserError(
            f"Expected a study named {name!r} in this database, found "
            + (f"others: {near(name, known)}" if known else "no study at all; begin its sweep, or correct storage")
        )
    return known[begin[0]]

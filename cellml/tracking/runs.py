"""Starting, finding and adopting runs. No active run is global: every call names its run.

Two levels: a parent run (a sweep, one training, one comparison) and its children (trials).
"""

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Run as Entity
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

import cellml
from cellml import config
from cellml.config import Experiment
from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.secrets import hidden
from cellml.tracking import courier, environment, orphans, patience
from cellml.tracking.closing import REASON, Ends, Terminated, close, closing, status
from cellml.tracking.courier import deliver_left
from cellml.tracking.run import Run

__all__ = [
    "REASON", "Record", "Run", "Terminated", "adopt", "child", "children", "close", "connect", "deliver_left",
    "existing", "experiment_of", "manifest_of", "own", "parent", "record", "settings", "status", "trials",
]  # fmt: skip

CONFIG = "config.yaml"
MANIFEST = "data/manifest.parquet"
KIND = "cellml.kind"
STUDY = "cellml.study"
CONTINUED = "cellml.continued_by"
PAGE = 1000
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What a child run logged."""

    id: str
    name: str
    status: str
    start: int  # milliseconds since 1970
    params: dict[str, str]
    metrics: dict[str, float]  # the last value of each
    tags: dict[str, str]


def connect(experiment_name: str) -> str:
    """Find or make the experiment of the runs to come: `mlflow run`'s own if there is one, else by name.

    Returns:
        The experiment's id.

    Raises:
        UserError: the tracking store does not answer within seconds, or has no such experiment any more.
    """
    with environment.probing():
        client = MlflowClient()
        if run_id := os.environ.get("MLFLOW_RUN_ID"):
            return client.get_run(run_id).info.experiment_id
        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return client.get_experiment(given).experiment_id
        return _named(client, experiment_name)


@contextmanager
def parent(
    kind: str, experiment: Experiment | None, name: str | None = None, tags: Mapping[str, Any] | None = None
) -> Iterator[Run]:
    """A parent run for the length of a block: the run that `mlflow run` made if there is one, else a new one.

    The experiment file is logged as params and as `config.yaml`. The run ends FINISHED; FAILED on an error, KILLED on
    Ctrl-C and SIGTERM, with a tag that says why.

    Args:
        kind: sweep, train, compare, ... (tag `cellml.kind`).
        experiment: what is run; None where no experiment file is involved.
        name: the run's name in the UI; `mlflow run --run-name` wins.
        tags: further tags.

    Raises:
        UserError: as `connect` does.
    """
    given = {KIND: kind, "cellml.version": cellml.__version__, **orphans.tag(), **(tags or {})}
    experiment_id = connect(experiment.name if experiment else kind)
    for line in deliver_left():
        _log.warning("%s", line)
    orphans.close_parents([experiment_id])
    if taken := os.environ.pop("MLFLOW_RUN_ID", None):  # no other run, here or in a worker process, may take it too
        run = Run(taken, experiment_id)
        _take(run, name or kind, given)
    else:
        run = _create(experiment_id, name or kind, given)
    with closing(run, {}):
        if experiment is not None:
            own = {
                "sweep": ("sweep", "main"),
                "pretrain": ("pretrain",),
                "screen": ("screen",),
            }  # sections of some commands alone
            flat = experiment.flat().items()
            run.params({key: value for key, value in flat if kind in own.get(key.split(".")[0], (kind,))})
            run.text(experiment.yaml(), CONFIG)
        yield run


@contextmanager
def own(kind: str) -> Iterator[None]:
    """The block of a command that writes into other commands' runs: `mlflow run`'s run, if there is one, is closed."""
    if "MLFLOW_RUN_ID" in os.environ:
        with parent(kind, None):
            yield
        return
    connect("Default")
    yield


@contextmanager
def child(
    parent: Run,
    name: str,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    ends: Ends | None = None,
) -> Iterator[Run]:
    """A child run (a trial) for the length of a block, in any process: `parent` needs only its two ids.

    Args:
        parent: the run above.
        name: the run's name in the UI.
        params: logged at once.
        tags: set at once.
        ends: exception class -> final status, for exceptions that are no failure, a pruned trial say; first match wins.
    """
    run = _create(parent.experiment_id, name, {MLFLOW_PARENT_RUN_ID: parent.id, **(tags or {})})
    with closing(run, ends or {}):
        run.params(params or {})
        yield run


def existing(run_id: str) -> Run:
    """A run that is there already."""
    info = courier.client().get_run(run_id).info
    return Run(info.run_id, info.experiment_id)


def experiment_of(run_id: str) -> Experiment:
    """The experiment that a run was made with: its own `config.yaml`, or its parent's with the run's own params.

    Raises:
        UserError: neither has one.
    """
    for found in _holders(run_id):
        if CONFIG in found.artifact_names():
            with tempfile.TemporaryDirectory(prefix="cellml-") as folder:
                return config.load(found.download(CONFIG, folder))
    raise UserError(f"Expected {CONFIG} on the run {run_id}, found none; name the experiment file with -P experiment=")


def manifest_of(run_id: str) -> Manifest | None:
    """The rows that a run was made with, its own or its parent's; None where neither kept them."""
    for found in _holders(run_id):
        if MANIFEST in found.artifact_names("data"):
            with tempfile.TemporaryDirectory(prefix="cellml-") as folder:
                return Manifest.load(found.download(MANIFEST, folder))
    return None


def settings(run_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """What runs were made with, by id and dotted path: their params over their parents', and their kind.

    A few requests for a thousand of them; those that are gone are left out.
    """
    found = _entities(run_ids)
    above = _entities(filter(None, (run.data.tags.get(MLFLOW_PARENT_RUN_ID) for run in found.values())))
    params = {run_id: run.data.params for run_id, run in above.items()}
    return {
        run_id: params.get(run.data.tags.get(MLFLOW_PARENT_RUN_ID, ""), {})
        | run.data.params
        | {KIND: run.data.tags.get(KIND, "")}
        for run_id, run in found.items()
    }


def record(run_id: str) -> Record | None:
    """What a run logged; None where it is gone."""
    try:
        return _record(courier.client().get_run(run_id))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def adopt(parent: Run, study: str) -> list[str]:
    """Put a study's earlier trials under a new parent run and close its earlier parents; returns the trials' ids.

    Finds the runs tagged `cellml.study` in the parent's experiment. Earlier parents get the tag `cellml.continued_by`;
    those still RUNNING end KILLED. Trials still RUNNING are moved but left open: only the caller knows whether a
    process works on them.
    """
    client = courier.client()
    adopted: list[str] = []
    earlier: set[str] = set()
    for entity in list(_search(parent.experiment_id, STUDY, study)):
        run_id, above = entity.info.run_id, entity.data.tags.get(MLFLOW_PARENT_RUN_ID)
        if above is None:
            earlier.add(run_id)
        elif above != parent.id:
            earlier.add(above)
            client.set_tag(run_id, MLFLOW_PARENT_RUN_ID, parent.id)
            adopted.append(run_id)
    for run_id in sorted(earlier - {parent.id}):
        if status(run_id) == "RUNNING":
            close(run_id, "KILLED", f"continued by run {parent.id}", {CONTINUED: parent.id})
        else:
            client.set_tag(run_id, CONTINUED, parent.id)
    return adopted


def children(parent: Run) -> list[Record]:
    """The child runs of a run, oldest first."""
    return [_record(entity) for entity in _search(parent.experiment_id, MLFLOW_PARENT_RUN_ID, parent.id)]


def trials(experiment_id: str, study: str) -> list[Record]:
    """The trials of a study, whichever parents they have, oldest first."""
    found = _search(experiment_id, STUDY, study)
    return [_record(entity) for entity in found if MLFLOW_PARENT_RUN_ID in entity.data.tags]


def _entities(run_ids: Iterable[str]) -> dict[str, Entity]:
    """Runs by id, deleted ones too; those that are gone are left out."""
    client, wanted = courier.client(), sorted(set(run_ids))
    experiments = [one.experiment_id for one in _paged(partial(client.search_experiments, ViewType.ALL, PAGE))]
    found: dict[str, Entity] = {}
    for start in range(0, len(wanted), PAGE):
        ids = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + PAGE])
        search = partial(client.search_runs, experiments, f"attributes.run_id IN ({ids})", ViewType.ALL, PAGE)
        found |= {run.info.run_id: run for run in _paged(search)}
    return found


def _holders(run_id: str) -> Iterator[Run]:
    """A run and its parent."""
    above = courier.client().get_run(run_id).data.tags.get(MLFLOW_PARENT_RUN_ID)
    yield from (existing(holder) for holder in (run_id, above) if holder)


def _named(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process was faster
    if found is None or found.lifecycle_stage == "deleted":
        raise UserError(
            f"Expected an experiment {name!r} that is not deleted; restore it in the MLflow UI, "
            "or change `name` in the experiment file"
        )
    return found.experiment_id


def _take(run: Run, name: str, tags: Mapping[str, Any]) -> None:
    client = courier.client()
    found = client.get_run(run.id)
    invented = re.fullmatch(r"[a-z]+-[a-z]+-\d+", found.info.run_name or "")
    client.update_run(run.id, status="RUNNING", name=name if invented else None)
    run.tags({key: hidden(value) for key, value in found.data.tags.items() if hidden(value) != value} | dict(tags))
    if shown := sorted(key for key, value in found.data.params.items() if hidden(value) != value):
        _log.warning(
            "`mlflow run` has stored a secret in the param %s of run %s, where nobody can change it: delete the "
            "run, change the secret, and give it by an environment variable, CELLML_STORAGE say",
            ", ".join(shown),
            run.id,
        )


def _create(experiment_id: str, name: str, tags: Mapping[str, Any]) -> Run:
    token = patience.token()
    given = {key: str(value) for key, value in tags.items()} | token
    resolved = resolve_tags(given)  # user, source and git commit
    resolved = {key: hidden(value) for key, value in resolved.items()}  # the address of the repository may hold a token

    def make() -> Entity:
        return MlflowClient().create_run(experiment_id, tags=resolved, run_name=name)

    def find() -> Entity | None:
        return next(iter(MlflowClient().search_runs([experiment_id], patience.tagged(token))), None)

    info = patience.once(make, find).info
    return Run(info.run_id, info.experiment_id)


def _search(experiment_id: str, tag: str, value: str) -> Iterator[Entity]:
    quote = '"' if "'" in value else "'"
    condition, order = f"tags.`{tag}` = {quote}{value}{quote}", ["attributes.start_time ASC"]
    search = partial(courier.client().search_runs, [experiment_id], condition, ViewType.ACTIVE_ONLY, PAGE)
    return _paged(partial(search, order_by=order))


def _paged(search: Callable[..., PagedList[T]]) -> Iterator[T]:
    token: str | None = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _record(entity: Entity) -> Record:
    info, data = entity.info, entity.data
    return Record(info.run_id, info.run_name, info.status, info.start_time, data.params, data.metrics, data.tags)

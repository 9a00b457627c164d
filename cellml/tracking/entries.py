"""What is written into a run, as values that JSON holds, and how each gets into the tracking store.

Each may be delivered twice with the result of once: a delivery whose answer was lost is repeated.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag
from mlflow.utils.validation import MAX_METRICS_PER_BATCH, MAX_PARAMS_TAGS_PER_BATCH

T = TypeVar("T")
Entry = dict[str, Any]


def metrics(values: Mapping[str, float], step: int) -> Iterable[Entry]:
    """Metrics of this moment, a thousand an entry: a store's rows are unique by key, time, step and value."""
    now = milliseconds()
    for items in _chunks(list(values.items()), MAX_METRICS_PER_BATCH):
        yield {"metrics": [[key, float(value), now, step] for key, value in items]}


def params(values: Mapping[str, str]) -> Iterable[Entry]:
    """Params, of which a run keeps those that it has."""
    for items in _chunks(list(values.items()), MAX_PARAMS_TAGS_PER_BATCH):
        yield {"params": dict(items)}


def tags(values: Mapping[str, str]) -> Iterable[Entry]:
    """Tags, which replace those of the same key."""
    for items in _chunks(list(values.items()), MAX_PARAMS_TAGS_PER_BATCH):
        yield {"tags": dict(items)}


def artifacts(folder: str) -> Entry:
    """The files of a folder, which stays until they are delivered: its path, or its name in a journal."""
    return {"artifacts": folder}


def dataset(entity: Dataset, context: Mapping[str, str]) -> Entry:
    """A data set that the run used."""
    return {"dataset": entity.to_dictionary(), "context": dict(context)}


def end(status: str, keep: bool = False) -> Entry:
    """The end of a run, now; with `keep` one that has ended already keeps its status."""
    return {"end": status, "time": milliseconds(), "keep": keep}


def deliver(client: MlflowClient, run_id: str, entry: Entry, journal: Path = Path()) -> None:
    """Write an entry into the tracking store; folders of artifacts lie in that of the journal."""
    match entry:
        case {"metrics": rows}:
            client.log_batch(run_id, metrics=[Metric(*row) for row in rows])
        case {"params": values}:
            known = client.get_run(run_id).data.params
            new = [Param(key, value) for key, value in values.items() if key not in known]
            if new:
                client.log_batch(run_id, params=new)
        case {"tags": values}:
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in values.items()])
        case {"artifacts": folder}:
            client.log_artifacts(run_id, str(journal / folder))
        case {"dataset": values, "context": context}:
            inputs = DatasetInput(Dataset(**values), [InputTag(*item) for item in context.items()])
            client.log_inputs(run_id, datasets=[inputs])
        case {"end": status, "time": when, "keep": keep}:
            if not (keep and RunStatus.is_terminated(RunStatus.from_string(client.get_run(run_id).info.status))):
                client.set_terminated(run_id, status, when)
        case _:
            raise ValueError(f"an entry of another version: {sorted(entry)}")


def milliseconds() -> int:
    """Now, since 1970."""
    return int(time.time() * 1000)


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

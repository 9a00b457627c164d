"""Runs that count as RUNNING although their process has ended."""

import json
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import ViewType

from cellml import processes
from cellml.tracking import courier
from cellml.tracking.closing import close

PROCESS = "cellml.process"
GONE = "its process ended without notice"
_PAGE = 1000


def tag() -> dict[str, str]:
    """The tag that tells which process works on a run."""
    return {PROCESS: json.dumps(processes.this_process())}


def close_parents(experiment_ids: list[str] | None = None) -> list[str]:
    """End parent runs whose process on this machine is gone: KILLED, with the reason; returns their ids.

    Args:
        experiment_ids: where to look; None: in every experiment.
    """
    client, closed = courier.client(), []
    if experiment_ids is None:
        experiment_ids = [found.experiment_id for found in _experiments(client)]
    for run_id, process in _running(client, experiment_ids):
        if processes.gone(json.loads(process)):
            close(run_id, "KILLED", GONE)
            closed.append(run_id)
    return closed


def _running(client: MlflowClient, experiment_ids: list[str]) -> list[tuple[str, str]]:
    found, token = list[tuple[str, str]](), None
    condition = f"attributes.status = 'RUNNING' AND tags.`{PROCESS}` LIKE '%'"
    while experiment_ids:
        page: Any = client.search_runs(
            experiment_ids, condition, ViewType.ACTIVE_ONLY, max_results=_PAGE, page_token=token
        )
        found += [(entity.info.run_id, entity.data.tags[PROCESS]) for entity in page]
        token = page.token
        if not token:
            break
    return found


def _experiments(client: MlflowClient) -> list[Any]:
    found, token = list[Any](), None
    while True:
        page: Any = client.search_experiments(max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found

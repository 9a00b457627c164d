"""Fewer questions to the database of the studies, each of which takes about a millisecond.

Optuna writes each value that a trial is given in a transaction of its own, and reads the other trials anew whenever its
sampler or pruner looks at them. In a `block` values are written together, and other trials are read at most once a
second.
"""

import copy
import json
import threading
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.dialects import postgresql, sqlite

INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}  # databases with ON CONFLICT
NAMED: dict[Any, str] = {
    models.TrialParamModel: "param_name",
    models.TrialSystemAttributeModel: "key",
    models.TrialUserAttributeModel: "key",
    models.TrialIntermediateValueModel: "step",
}
Kept = dict[tuple[type, str | int], dict[str, Any]]
AGE = 1.0  # seconds: in a block, other trials are not read again when they were read so lately

_in_block: ContextVar[bool] = ContextVar("in_block", default=False)


@contextmanager
def block() -> Iterator[None]:
    """A block in which a trial gets its values, or is compared with others.

    What is set in it is written with the next thing that this thread sets for the trial. A process that dies in between
    loses values of a trial that is run again anyhow.
    """
    token = _in_block.set(True)
    try:
        yield
    finally:
        _in_block.reset(token)


class Batched(_CachedStorage):
    """Optuna's storage of a database, which remembers finished trials, with the two savings of a `block`."""

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._insert = INSERT[backend.engine.name]
        self._kept = threading.local()
        self._read_at: dict[int, float] = {}
        self._in_order: dict[int, list[FrozenTrial]] = {}

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Optuna's; in a block, kept for the next write."""
        study_id, _ = self._trial_id_to_study_id_and_number[trial_id]
        known = self._studies[study_id].param_distribution.get(param_name)
        if not _in_block.get() or known is None:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
            return
        check_distribution_compatibility(known, distribution)
        row = {"param_value": param_value_internal, "distribution_json": distribution_to_json(distribution)}
        self._of(trial_id)[models.TrialParamModel, param_name] = row

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Optuna's; in a block, kept for the next write."""
        self._of(trial_id)[models.TrialSystemAttributeModel, key] = {"value_json": json.dumps(value)}
        if not _in_block.get():
            self._write(trial_id)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Optuna's, with what was kept."""
        self._of(trial_id)[models.TrialUserAttributeModel, key] = {"value_json": json.dumps(value)}
        self._write(trial_id)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Optuna's, with what was kept."""
        model = models.TrialIntermediateValueModel
        value, kind = model.intermediate_value_to_stored_repr(intermediate_value)
        self._of(trial_id)[model, step] = {"intermediate_value": value, "intermediate_value_type": kind}
        self._write(trial_id)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Optuna's, after what was kept."""
        self._write(trial_id)
        return super().set_trial_state_values(trial_id, state, values)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Optuna's; sorted once a reading."""
        self._read_trials_from_remote_storage(study_id)
        with self._lock:
            known = self._in_order.get(study_id)
            if known is None:
                known = sorted(self._studies[study_id].trials.values(), key=lambda trial: trial.number)
                self._in_order[study_id] = known
            found = [trial for trial in known if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def _of(self, trial_id: int) -> Kept:
        """What this thread has kept for a trial, the only one that it works on."""
        if getattr(self._kept, "trial_id", None) != trial_id:
            self._kept.trial_id, self._kept.rows = trial_id, {}
        return self._kept.rows

    def _write(self, trial_id: int) -> None:
        """Write what was kept, in one transaction; it stays kept until an answer has come, and may be written twice."""
        kept = self._of(trial_id)
        if kept:
            try:
                self._transact(trial_id, kept)
            except optuna.exceptions.UpdateFinishedTrialError:
                kept.clear()
                raise
            kept.clear()

    def _transact(self, trial_id: int, kept: Kept) -> None:
        rows: dict[type, list[dict[str, Any]]] = {}
        for (model, name), row in kept.items():
            rows.setdefault(model, []).append({"trial_id": trial_id, NAMED[model]: name, **row})
        with _create_scoped_session(self._backend.scoped_session) as session:
            trial = models.TrialModel.find_or_raise_by_id(trial_id, session)
            self.check_trial_is_updatable(trial_id, trial.state)  # type: ignore[arg-type]
            for model, values in rows.items():
                unique = ("trial_id", NAMED[model])
                added = self._insert(model).values(values)
                new = {name: added.excluded[name] for name in values[0] if name not in unique}
                session.execute(added.on_conflict_do_update(index_elements=unique, set_=new))

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        super()._add_trials_to_cache(study_id, trials)
        self._in_order.pop(study_id, None)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        now = time.monotonic()
        if _in_block.get() and now - self._read_at.get(study_id, -AGE) < AGE:
            return
        super()._read_trials_from_remote_storage(study_id)
        self._read_at[study_id] = now

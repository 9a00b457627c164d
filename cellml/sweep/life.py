"""Signs of life of a trial, and who gives none any more."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from cellml import processes

BEAT = 15.0  # seconds between signs of life of a trial
GRACE = 90.0  # seconds without one after which a trial of another machine counts as abandoned
_log = logging.getLogger(__name__)


@contextmanager
def beating(storage: BaseStorage, trial_id: int) -> Iterator[None]:
    """A block during which a trial gives a sign of life every `BEAT` seconds."""
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(BEAT):
            count += 1
            try:
                storage.set_trial_user_attr(trial_id, "beat", count)
            except Exception as error:  # the trial goes on; whoever watches it decides
                _log.debug("no sign of life could be given: %s", error)

    threading.Thread(target=beat, daemon=True, name="beat").start()
    try:
        yield
    finally:
        over.set()


class Watch:
    """Finds abandoned trials.

    A process of this machine is looked up. Of another machine's, signs of life are counted by this machine's clock, so
    that clocks need not agree.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Any, float]] = {}

    def abandoned(self, trial: FrozenTrial) -> bool:
        """Whether nobody works on a RUNNING trial any more."""
        process, now = trial.user_attrs.get("process"), time.monotonic()
        ended = processes.gone(process) if process else None
        if ended is not None:
            return ended
        sign = (process, trial.user_attrs.get("beat"))
        last, since = self._seen.get(trial._trial_id, (None, now))
        if last != sign:
            last, since = sign, now
        self._seen[trial._trial_id] = (last, since)
        return now - since > GRACE

"""The way of what runs log into the tracking store.

A database is written at once. For a server, what the open runs of this process log goes into a journal that a thread
delivers in order: nobody waits for HTTP, nor for a server that is away.
"""

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from cellml.errors import Away
from cellml.secrets import hidden
from cellml.tracking import entries, environment, patience
from cellml.tracking.entries import Entry
from cellml.tracking.journal import Journal, spool

_open: dict[str, "Courier"] = {}  # by run id
_log = logging.getLogger(__name__)


class Courier:
    """Delivers the journal of an open run, in a thread."""

    def __init__(self, run_id: str) -> None:
        self.server = environment.shown()
        self.journal = Journal.create(run_id, self.server)
        self.refused: Exception | None = None  # the first refusal that nobody has been told of
        self._client = MlflowClient()
        self._changed = threading.Condition()
        self._stopped = self._gave_up = False
        self._thread = threading.Thread(target=self._work, name=f"courier-{run_id[:8]}", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Hand an entry over.

        Raises:
            Exception: what the server answered to an earlier one that it refused; an epoch's metrics are told.
        """
        try:
            self.journal.append(entry)
        except OSError as error:
            _log.warning("the journal in %s takes no more (%s): waiting for the server", self.journal.folder, error)
            self.settle(patience.seconds())
            patience.patiently(partial(self.journal.deliver, self._client, entry))
        with self._changed:
            self._changed.notify_all()
        if "metrics" in entry:
            self.check()

    def check(self) -> None:
        """Raise what the server has refused, once."""
        refused, self.refused = self.refused, None
        if refused is not None:
            raise refused

    def settle(self, seconds: float) -> bool:
        """Wait until everything is delivered, once for as long as asked; whether it is."""
        with self._changed:
            self._changed.wait_for(lambda: self.journal.empty, 0 if self._gave_up else seconds)
            self._gave_up = not self.journal.empty
            return self.journal.empty

    def stop(self) -> None:
        """End the thread; what is left stays on disk."""
        left = not self.journal.empty
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if left:
            _log.warning(
                "the MLflow tracking server %s does not answer: what is left of run %s lies in %s; "
                "the next command here delivers it",
                self.server,
                self.journal.run_id,
                self.journal.folder,
            )
        else:
            self._thread.join()

    def _work(self) -> None:
        while (found := self._next()) is not None:
            entry, position = found
            if not self._deliver(entry):
                break
            with self._changed:
                self.journal.delivered(entry, position)
                self._changed.notify_all()
        self.journal.close()

    def _deliver(self, entry: Entry) -> bool:
        """Try until the server has taken the entry or refused it; False where that did not come to an end."""
        started, nap, told = time.monotonic(), patience.NAP, False
        while True:
            try:
                self.journal.deliver(self._client, entry)
                return True
            except Exception as error:
                waited = time.monotonic() - started
                if waited >= patience.grace(error):
                    self.refused = self.refused or error
                    return True
            if not told and waited > patience.QUIET:
                told = True
                _log.warning("the MLflow tracking server %s does not answer: logging goes on without", self.server)
            with self._changed:
                if self._changed.wait_for(lambda: self._stopped, nap):
                    return False
            nap = min(nap * 1.5, patience.LONGEST_NAP)

    def _next(self) -> tuple[Entry, int] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self.journal.next() is not None)
            return None if self._stopped else self.journal.next()


@contextmanager
def delivering(run_id: str, waits: Callable[[BaseException | None], float]) -> Iterator[None]:
    """A block in which a run of this process logs; at its end everything is delivered, or left on disk with a warning.

    Args:
        run_id: which run.
        waits: error that ended the block, or None -> seconds to wait for a server that is away.
    """
    if environment.server() is None:
        yield
        return
    try:
        courier = _open[run_id] = Courier(run_id)
    except OSError as error:
        _log.warning("no journal for run %s (%s): it is logged straight to the server", run_id, error)
        yield
        return
    ended: BaseException | None = None
    try:
        yield
    except BaseException as error:
        ended = error
        raise
    finally:
        del _open[run_id]
        try:
            courier.settle(waits(ended))
        finally:
            courier.stop()


def put(run_id: str, *given: Entry) -> None:
    """Write entries into a run, in order: at once, or by the courier of an open run."""
    courier = _open.get(run_id)
    for entry in given:
        if courier is not None:
            courier.put(entry)
        else:
            patience.patiently(partial(entries.deliver, MlflowClient(), run_id, entry))


def settle(run_id: str) -> None:
    """Wait until what a run has logged is in the store, or the server has been away for too long.

    Raises:
        Exception: what the server refused.
    """
    if (courier := _open.get(run_id)) is not None:
        courier.settle(patience.seconds())
        courier.check()


@contextmanager
def place(run_id: str) -> Iterator[Path]:
    """A folder whose files become artifacts of a run, at once, when the block ends without an error."""
    courier = _open.get(run_id)
    if courier is None:
        with tempfile.TemporaryDirectory(prefix="cellml-artifacts-") as name:
            yield Path(name)
            if any(Path(name).iterdir()):
                put(run_id, entries.artifacts(name))
        return
    folder = courier.journal.place()
    handed = False
    try:
        yield folder
        if any(folder.iterdir()):
            handed = True  # before: a signal may come in between
            courier.put(entries.artifacts(folder.name))
    finally:
        if not handed:
            shutil.rmtree(folder, ignore_errors=True)


def client() -> MlflowClient:
    """A client whose calls come after all that this process has logged, and wait for a server that is away.

    Only for calls that may come twice: an answer may be lost.
    """
    return MlflowClient() if environment.server() is None else cast(MlflowClient, _Patient(MlflowClient()))


def deliver_left() -> list[str]:
    """Deliver what ended processes have left in journals for this tracking server.

    Returns:
        A line for each.

    Raises:
        Away: the server went away over it.
    """
    if environment.server() is None or not spool().is_dir():
        return []
    found = (Journal.take(folder, environment.shown()) for folder in sorted(spool().iterdir()))
    return [_empty(journal) for journal in found if journal is not None]


def _empty(journal: Journal) -> str:
    client, count, refused = MlflowClient(), 0, ""
    try:
        while (found := journal.next()) is not None:
            entry, position = found
            try:
                patience.patiently(partial(journal.deliver, client, entry))
                count += 1
            except (MlflowException, requests.HTTPError) as error:  # a run deleted in the meantime, say
                refused = f"; the server refused some: {hidden(' '.join(str(error).split()))[:200]}"
                if patience.forbidden(error):  # another user's
                    break
            journal.delivered(entry, position)
    finally:
        journal.close()
    return f"run {journal.run_id}: {count} entries delivered that an earlier command has left{refused}"


class _Patient:
    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            for courier in list(_open.values()):
                if not courier.settle(patience.seconds()):
                    raise Away(patience.line("no answer", patience.seconds()))
            return patience.patiently(partial(method, *args, **options))

        return call

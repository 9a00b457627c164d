"""How a run ends: FINISHED, FAILED or KILLED, with the reason in a tag, whatever happens in between."""

import logging
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mlflow.exceptions import MlflowException

from cellml.errors import UserError
from cellml.secrets import hidden
from cellml.tracking import courier, entries, patience
from cellml.tracking.run import Run

REASON = "cellml.reason"
Ends = Mapping[type[BaseException], str]

_came: list[int] = []  # signals, since the outermost block began
GRACE = 5.0  # seconds that an interrupted run waits for its delivery
TRIES, PAUSE = 3, 0.5  # of closing a run, seconds between
_log = logging.getLogger(__name__)


class Terminated(KeyboardInterrupt):
    """SIGTERM came while a run was open."""


def close(run_id: str, status: str, reason: str | None = None, tags: Mapping[str, Any] | None = None) -> None:
    """End a run, with the tag `cellml.reason` in one line.

    Args:
        run_id: which run.
        status: FINISHED, FAILED or KILLED.
        reason: why, if not plain success.
        tags: further tags.
    """
    _close(run_id, reason, tags, entries.end(status))


def status(run_id: str) -> str:
    """RUNNING, FINISHED, FAILED, KILLED or SCHEDULED."""
    return courier.client().get_run(run_id).info.status


@contextmanager
def closing(run: Run, ends: Ends) -> Iterator[None]:
    """A block after which the run has ended, unless the process is killed without notice.

    An exception that a signal raises may land where it is discarded, in a destructor or a library's callback: after
    SIGTERM or SIGINT no block begins or ends as if nothing had happened.

    Args:
        run: a run that is RUNNING.
        ends: exception class -> status, for exceptions that are no failure; the first match wins.
    """
    with _signals_raise(), courier.delivering(run.id, _waits):
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # see `cellml.__main__`
            _check()
            yield
            _check()
            courier.settle(run.id)
        except BaseException as error:
            _end_surely(run, error, ends)
            raise
        _close(run.id, None, None, entries.end("FINISHED", keep=True))


def _close(run_id: str, reason: str | None, tags: Mapping[str, Any] | None, end: entries.Entry) -> None:
    given = dict(tags or {})
    if reason:
        given[REASON] = " ".join(reason.split())
    if given:
        Run(run_id, "").tags(given)
    courier.put(run_id, end)


def _waits(error: BaseException | None) -> float:
    """Seconds that a run's end may wait for a server that is away; who interrupts it does not want to wait."""
    return GRACE if isinstance(error, KeyboardInterrupt) else patience.seconds()


def _end_surely(run: Run, error: BaseException, ends: Ends) -> None:
    """Try a few times: a signal may have come in the middle of a write, and the database be locked for a while."""
    noisy = logging.getLogger("mlflow.store.db.utils")  # prints a traceback of every failed try
    before = noisy.level
    noisy.setLevel(logging.CRITICAL)
    try:
        for left in reversed(range(TRIES)):
            try:
                return _end(run, error, ends)
            except MlflowException as failure:
                if not left:  # the error that ended the block matters more
                    _log.warning("run %s could not be closed: %s", run.id, hidden(str(failure)))
                else:
                    time.sleep(PAUSE)
    finally:
        noisy.setLevel(before)
    return None


def _end(run: Run, error: BaseException, ends: Ends) -> None:
    for kind, final in ends.items():
        if isinstance(error, kind):
            return close(run.id, final, _reason(error))
    if isinstance(error, KeyboardInterrupt):
        return close(run.id, "KILLED", "SIGTERM" if isinstance(error, Terminated) else "interrupted")
    if isinstance(error, SystemExit) and not error.code:
        return close(run.id, "FINISHED")
    close(run.id, "FAILED", _reason(error))
    if isinstance(error, Exception) and not isinstance(error, UserError):
        run.text("".join(traceback.format_exception(error)), "error.txt")
    return None


def _reason(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def _signals_raise() -> Iterator[None]:
    """In the outermost block of the main thread, the first SIGTERM raises and later ones let the runs be closed.

    SIGINT raises as it does in Python, and is remembered; where it is ignored, as in a background job, it stays so.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before in (_terminate, _ignore):
        yield
        return
    _came.clear()
    signal.signal(signal.SIGTERM, _terminate)
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _came.clear()


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, _ignore)
    _came.append(number)
    _check()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    raise KeyboardInterrupt


def _check() -> None:
    if signal.SIGTERM in _came:
        raise Terminated(f"signal {int(signal.SIGTERM)}")
    if _came:
        raise KeyboardInterrupt


def _ignore(number: int, frame: FrameType | None) -> None:
    """A second SIGTERM changes nothing."""

"""The database of the studies: opened by its URL, and waited for while it is away."""

import abc
import functools
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import Engine
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)

from cellml.errors import Away, UserError
from cellml.sweep import proxy
from cellml.sweep.batched import INSERT, Batched

PATIENCE = 600.0  # seconds that a database may be away, unless CELLML_PATIENCE says otherwise
PAUSE = 0.5  # seconds between tries, doubled each time up to
LONGEST_PAUSE = 8.0
TRIES = 10  # of making the tables of a new database
URLS = "sqlite:///FILE, postgresql://USER:PASSWORD@HOST:PORT/DATABASE or grpc://HOST:PORT"
ADVICE = {
    "table schema": "upgrade it with `optuna storage upgrade --storage URL`, or name another database",
    "authentication failed": "correct the user or the password in storage",
    "no password supplied": "storage is postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    "unable to open database file": "name a file in a folder that exists and may be written to",
    "file is not a database": "name another file",
    "does not exist": "create it, or correct storage",
    "Could not parse": f"storage is {URLS}",
    "Can't load plugin": f"storage is {URLS}",
}

_patience: ContextVar[float | None] = ContextVar("patience", default=None)


def default_url(tracking_uri: str) -> str:
    """CELLML_STORAGE; else an SQLite file next to the tracking store, or in the working folder for a server's."""
    if given := os.environ.get("CELLML_STORAGE"):
        return given
    if tracking_uri.startswith("sqlite:///"):
        return f"sqlite:///{Path(tracking_uri.removeprefix('sqlite:///')).parent / 'optuna.db'}"
    return "sqlite:///optuna.db"


def open_storage(url: str) -> BaseStorage:
    """The storage at a URL: SQLite, PostgreSQL, another that SQLAlchemy knows, or a proxy before one.

    Its calls wait while it is away.

    Raises:
        UserError: the database cannot be opened, refuses the password, or was made by another version of Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if url.startswith(f"{proxy.SCHEME}://"):
        return Patient(proxy.client(url))  # type: ignore[abstract]
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        database = _first(url)
        known = database.engine.name in INSERT
        return Patient(Batched(database) if known else optuna.storages.get_storage(database))  # type: ignore[abstract]
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(
            f"Expected an Optuna database at {url.split('@')[-1]}: {reason}; {_advice(str(error))}"
        ) from None


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Wait for a database no longer than this in a block: what ends soon has no time for it."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


class Patient(BaseStorage):
    """A storage whose calls are tried again while the database behind it does not answer.

    Every call may be made twice, since an answer can be lost as well as a question: values are set to the same values,
    a claim that was taken is not given again (its trial counts as abandoned), a trial that was queued twice is run
    once (see `cellml.sweep.queue`), and a trial that has ended meanwhile has ended as asked.
    """

    def __init__(self, behind: BaseStorage) -> None:
        self.behind = behind

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


def _patiently(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(BaseStorage, name), updated=())  # without the mark of an abstract method
    def call(self: Patient, *arguments: Any, **named: Any) -> Any:
        ask = functools.partial(getattr(self.behind, name), *arguments, **named)
        allowed = _patience.get()
        if allowed is None:
            allowed = float(os.environ.get("CELLML_PATIENCE") or PATIENCE)
        until, pause, tried = time.monotonic() + allowed, PAUSE, False
        while True:
            try:
                return ask()
            except optuna.exceptions.UpdateFinishedTrialError:
                if tried and name == "set_trial_state_values":
                    return True
                raise
            except Exception as error:
                if not _away(error):
                    raise
                if time.monotonic() + pause > until:
                    raise Away(
                        f"Expected an answer from the Optuna database, got none for {allowed:.0f} s: {_line(error)}; "
                        "start it, then the same command continues"
                    ) from None
            tried = True
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    return call


for _name in [name for name in vars(BaseStorage) if not name.startswith("_")]:
    setattr(Patient, _name, _patiently(_name))
abc.update_abstractmethods(Patient)  # type: ignore[type-abstract]


def _away(error: BaseException) -> bool:
    """Whether a call failed because nothing answered, or the database is locked, not because of what was asked."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    # PendingRollbackError: Optuna asks another way in a session that has just broken.
    if isinstance(error, OperationalError | PendingRollbackError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    return type(error).__name__ == "_InactiveRpcError" and "UNAVAILABLE" in str(error)


def _line(error: BaseException) -> str:
    text = str(error.__cause__ or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _advice(error: str) -> str:
    return next((advice for words, advice in ADVICE.items() if words in error), "start it, or correct storage")


def _first(url: str) -> RDBStorage:
    """The database, new perhaps: of several that come to it at once and make its tables, the slower try again."""
    for left in reversed(range(TRIES)):
        try:
            return _database(url)
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            if not left or (isinstance(error, OperationalError) and "already exists" not in str(error)):
                raise
            time.sleep(PAUSE)
    raise AssertionError


def _database(url: str) -> RDBStorage:
    lite = url.startswith("sqlite")
    connect = {"timeout": 60} if lite else {"connect_timeout": 5} if url.startswith("postgresql") else {}
    storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True, "connect_args": connect})
    if lite:
        _serialise(storage.engine)
    return storage


def _serialise(engine: Engine) -> None:
    """Let each transaction take SQLite's write lock at its start.

    SQLite ignores `SELECT ... FOR UPDATE`, on which Optuna's claim of a waiting trial relies: two processes could claim
    the same one. The recipe is SQLAlchemy's ("Serializable isolation / Savepoints / Transactional DDL").
    """

    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not open transactions of its own

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(engine, "connect", connect)
    sqlalchemy.event.listen(engine, "begin", begin)
    engine.dispose()

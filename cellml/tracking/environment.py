"""Where MLflow keeps its runs: whether that store answers, and the address of its pages."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import sqlalchemy
from alembic.util import CommandError
from mlflow.exceptions import MlflowException

from cellml.errors import UserError
from cellml.secrets import hidden

PROBE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


@contextmanager
def environ(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for the length of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def probing() -> Iterator[None]:
    """A block whose first request finds out within seconds whether the tracking store answers.

    Raises:
        UserError: it does not, or refuses the request.
    """
    uri = mlflow.get_tracking_uri()
    if urlsplit(uri).scheme.split("+")[0] in _DATABASES:
        _reach(uri)
    try:
        with environ(PROBE):
            yield
    except (MlflowException, CommandError) as error:
        raise _unreachable(uri, error) from None


LOCAL_UI = "http://127.0.0.1:5000"  # where `mlflow ui` serves its pages


def tracking_uri() -> str:
    """Where runs are tracked: MLFLOW_TRACKING_URI, else MLflow's own default."""
    return mlflow.get_tracking_uri()


def shown() -> str:
    """The same without a password, to be printed and compared."""
    return hidden(mlflow.get_tracking_uri())


def server() -> str | None:
    """Address of the tracking server, without a password, or None where the store is a database."""
    return shown().rstrip("/") if urlsplit(mlflow.get_tracking_uri()).scheme in ("http", "https") else None


def ui_hint(experiment_id: str) -> tuple[str, str]:
    """Two lines to print: the command that starts MLflow's pages, and the address of the experiment there.

    Where a tracking server serves the pages already, the first line says so.
    """
    address, uri = server(), mlflow.get_tracking_uri()
    if address:
        command = f"runs are shown by the tracking server at {address}"
    elif uri in ("sqlite:///mlflow.db", f"sqlite:///{Path.cwd() / 'mlflow.db'}"):
        command = "mlflow ui"
    else:
        command = f"mlflow ui --backend-store-uri {hidden(uri)}"
    page = f"#/experiments/{experiment_id}?workflowType=machine_learning"
    return command, f"{address or LOCAL_UI}/{page}"


def _reach(uri: str) -> None:
    """Open the database once: MLflow itself would go on trying for half an hour."""
    timeout = {"connect_timeout": 5} if uri.startswith(("postgresql", "mysql")) else {}
    try:
        address = sqlalchemy.make_url(uri)
        if address.drivername.startswith("sqlite") and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sqlalchemy.create_engine(address, connect_args=timeout)
        with engine.connect():
            pass
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError) as error:
        raise _unreachable(uri, error) from None


def _unreachable(uri: str, error: Exception) -> UserError:
    shown, text = hidden(uri), hidden(" ".join(str(error).split()))
    if "error code 401" in text:
        return UserError(
            f"The tracking server {shown} refuses this name and password; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD"
        )
    if "Invalid Host header" in text:
        host = urlsplit(uri).netloc.rpartition("@")[2]
        return UserError(f"The tracking server refuses to be called {host}; add it to its MLFLOW_SERVER_ALLOWED_HOSTS")
    if isinstance(error, CommandError) or "out-of-date database schema" in text:
        return UserError(
            f"Expected the tables of MLflow {mlflow.__version__} in {shown}, found those of another version ("
            f"{text[:100]}); install that version, or run mlflow db upgrade after a backup"
        )
    line = "no answer" if "Max retries exceeded" in text else text[:300]
    return UserError(
        f"Expected an answer from the MLflow tracking store {shown}, got: {line}; start it or set MLFLOW_TRACKING_URI"
    )

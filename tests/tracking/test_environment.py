import socket
import time

import pytest

from cellml.errors import UserError
from cellml.tracking import environment, runs


@pytest.fixture
def silent_port():
    """A server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def refused(uri, monkeypatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = time.monotonic()
    with pytest.raises(UserError) as error:
        runs.connect("cells")
    assert time.monotonic() - before < 15
    message = str(error.value)
    assert "\n" not in message
    assert "MLFLOW_TRACKING_URI" in message
    return message


def test_a_server_that_does_not_listen(store, closed_port, monkeypatch):
    assert f"http://127.0.0.1:{closed_port}" in refused(f"http://127.0.0.1:{closed_port}", monkeypatch)


def test_a_server_that_never_answers(store, silent_port, monkeypatch):
    assert str(silent_port) in refused(f"http://127.0.0.1:{silent_port}", monkeypatch)


def test_the_probe_leaves_the_environment_as_it_was(store, closed_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    refused(f"http://127.0.0.1:{closed_port}", monkeypatch)
    assert environment.os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in environment.os.environ


def test_a_database_that_does_not_listen_and_its_password(store, closed_port, monkeypatch):
    message = refused(f"postgresql+psycopg://user:hush@127.0.0.1:{closed_port}/mlflow", monkeypatch)
    assert "hush" not in message
    assert "user:***@" in message


def test_a_database_that_cannot_be_opened(store, monkeypatch):
    (store / "taken").mkdir()
    refused(f"sqlite:///{store}/taken", monkeypatch)


def test_a_plain_file_store_is_refused_with_a_reason(store, monkeypatch):
    refused(f"file://{store}/runs", monkeypatch)


def test_the_folder_of_a_new_database_is_made(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/new/folder/mlflow.db")
    with environment.probing():
        assert (store / "new" / "folder").is_dir()


@pytest.mark.parametrize(
    ("uri", "command", "page"),
    [
        ("sqlite:///{cwd}/mlflow.db", "mlflow ui", "http://127.0.0.1:5000"),
        ("sqlite:////else/where.db", "mlflow ui --backend-store-uri sqlite:////else/where.db", "http://127.0.0.1:5000"),
        ("http://lab:5050/", "runs are shown by the tracking server at http://lab:5050", "http://lab:5050"),
    ],
)
def test_ui_hint(store, monkeypatch, uri, command, page):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(cwd=store))
    lines = environment.ui_hint("7")
    assert lines == (command, f"{page}/#/experiments/7?workflowType=machine_learning")


def test_a_password_in_the_address_is_not_shown(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://lab:geheim@host:5000/")
    assert environment.server() == environment.shown().rstrip("/") == "https://lab:***@host:5000"
    assert "geheim" not in "".join(environment.ui_hint("1"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://lab:geheim@host/mlflow")
    assert environment.server() is None
    assert "geheim" not in "".join(environment.ui_hint("1"))

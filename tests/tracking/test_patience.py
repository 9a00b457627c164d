import http.server
import math
import threading
import time

import botocore.exceptions
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from cellml.errors import UserError
from cellml.tracking import patience


@pytest.fixture
def answering(monkeypatch):
    """A web server that answers with the given statuses in turn, and then with the last."""
    statuses, asked = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.end_headers()
            self.wfile.write(b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}')

        def log_message(self, *given):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://lab:geheim@127.0.0.1:{server.server_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield statuses, asked
    server.shutdown()
    server.server_close()


def ask():
    return MlflowClient().get_run("0" * 32)


def caught(call):
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("status", "expected"), [(503, math.inf), (502, math.inf), (504, math.inf), (429, math.inf), (500, 60), (404, 0)]
)
def test_what_mlflow_makes_of_a_status(answering, status, expected):
    answering[0].append(status)
    assert patience.grace(caught(ask)) == expected


def test_what_is_worth_waiting_for(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert patience.grace(caught(ask)) == math.inf
    for error in (
        requests.Timeout("x"),
        ConnectionResetError("x"),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://s3"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://s3"),
    ):
        assert patience.grace(error) == math.inf
    for error in (MlflowException("x"), requests.exceptions.SSLError("x"), FileNotFoundError("x"), ValueError("x")):
        assert patience.grace(error) == 0


def test_a_call_is_repeated_until_the_server_answers(answering):
    statuses, asked = answering
    statuses += [503, 502, 404]
    with pytest.raises(MlflowException, match="no such run"):
        patience.patiently(ask)
    assert len(asked) == 3


def test_waiting_ends_with_one_line_without_the_password(answering, monkeypatch):
    monkeypatch.setenv("CELLML_PATIENCE", "1")
    answering[0].append(503)
    before = time.monotonic()
    error = caught(lambda: patience.patiently(ask))
    assert time.monotonic() - before < 5
    assert isinstance(error, UserError)
    assert "http://lab:***@127.0.0.1" in str(error)
    assert "status 503" in str(error)
    assert "CELLML_PATIENCE" in str(error)


def test_what_was_made_before_an_answer_was_lost_is_found():
    made = []

    def make():
        made.append("run")
        if len(made) == 1:
            raise requests.Timeout("the answer was lost")
        return "another"

    assert patience.once(make, lambda: made[0]) == "run"
    assert made == ["run"]


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_patience_is_a_number_of_seconds(monkeypatch, text):
    monkeypatch.setenv("CELLML_PATIENCE", text)
    with pytest.raises(UserError, match="CELLML_PATIENCE"):
        patience.seconds()

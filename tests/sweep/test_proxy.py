"""The proxy before a study's database, served by the command in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time

import optuna
import pytest

from cellml import config
from cellml.errors import UserError
from cellml.sweep import proxy, queue, space, storage
from cellml.sweep import study as studies


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def served(tmp_path):
    """A database and the address of a proxy before it."""
    port, url = free_port(), f"sqlite:///{tmp_path / 'optuna.db'}"
    command = [sys.executable, "-m", "cellml", "proxy", "--storage", url, "--port", str(port)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        # ignored where tests run in the background
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert f"grpc://localhost:{port}" in process.stdout.readline()
    yield url, f"grpc://localhost:{port}"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert "ended" in process.stdout.read()


def test_a_sweep_through_a_proxy_is_in_the_database(served):
    url, address = served
    experiment = config.parse({"name": "x", "sweep": {"mode": "best", "space": {"train.lr": {"low": 0.1, "high": 1}}}})
    through = studies.open_study(storage.open_storage(address), "s", experiment, maximize=True)
    plan = space.plan(experiment, 3)
    queue.enqueue(through, plan)
    tried = []
    while (trial := queue.claim(through, plan)) is not None:
        space.suggest(trial, experiment)
        trial.report(0.5, 0)
        tried.append(trial.params["train.lr"])
        through.tell(trial, trial.number)
    behind = optuna.load_study(study_name="s", storage=url)
    assert [t.params["train.lr"] for t in behind.trials] == tried
    assert [t.value for t in behind.trials] == [0, 1, 2]
    assert [t.intermediate_values for t in behind.trials] == [{0: 0.5}] * 3


def test_a_trial_is_claimed_once_by_two_clients(served):
    _, address = served
    experiment = config.parse({"name": "x"})
    plan = space.plan(experiment, 1)
    clients = [studies.open_study(storage.open_storage(address), "s", experiment, maximize=True) for _ in range(2)]
    queue.enqueue(clients[0], plan)
    claimed = [queue.claim(study, plan) for study in clients]
    assert [trial is not None for trial in claimed] == [True, False]


@pytest.mark.parametrize(
    "url", ["grpc://", "grpc://host", "grpc://host:x", "grpc://host:99999", "grpc://a:b@host:13000", "grpc://host:1/db"]
)
def test_an_address_that_is_none(url):
    with pytest.raises(UserError, match="Expected grpc://HOST:PORT"):
        proxy.client(url)


def test_no_proxy_there_is_one_line_within_seconds():
    began = time.monotonic()
    with pytest.raises(UserError, match="got none within 1 s; start it with"):
        proxy.client(f"grpc://localhost:{free_port()}", patience=1)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("host", ["localhost", "203.0.113.7"])
def test_an_address_that_is_taken_or_foreign(host):
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="change --host or --port"):
            proxy.serve(optuna.storages.InMemoryStorage(), host, port, print)


def test_a_port_that_is_none():
    with pytest.raises(UserError, match="Expected a port from 1 to 65535, got 70000"):
        proxy.serve(optuna.storages.InMemoryStorage(), "localhost", 70000, print)


@pytest.mark.parametrize("url", ["", "grpc://localhost:13000"])
def test_a_database_that_is_none(url, monkeypatch):
    monkeypatch.setenv("CELLML_STORAGE", url)
    with pytest.raises(UserError, match="Expected the URL of a database"):
        proxy.database("")


def test_the_command_takes_the_database_from_the_environment(tmp_path):
    environment = os.environ | {"CELLML_STORAGE": f"sqlite:///{tmp_path / 'absent' / 'optuna.db'}"}
    command = [sys.executable, "-m", "cellml", "proxy", "--port", str(free_port())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Expected an Optuna database" in done.stderr

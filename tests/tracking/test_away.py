"""A real tracking server that goes away while runs log, and comes back."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image

from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.tracking import courier, runs
from cellml.tracking.journal import spool

pytestmark = pytest.mark.services


@pytest.fixture
def server(tracking_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server.url)
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path / "cache"))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    yield tracking_server
    if tracking_server.process.poll() is not None:
        tracking_server.start()


def rows(server, query, *values):
    """What the server's own database holds."""
    with sqlite3.connect(server.folder / "mlflow.db") as database:
        return database.execute(query, values).fetchall()


def test_training_goes_on_while_the_server_is_away_and_nothing_is_lost(server, experiment, tmp_path):
    ids = ["a", "b"]
    table = {"id": ids, "file": ids, "label": ids, "group": ids, "split": "train", "pixels": "", "row": -1}
    Image.new("RGB", (20, 10), "red").save(tmp_path / "red.png")
    with runs.parent("train", experiment) as run:
        run.metrics({"loss": 9.0}, step=0)
        courier.settle(run.id)
        server.stop()
        before = time.monotonic()
        for step in range(1, 50):
            run.metrics({"loss": 9.0 - step / 10, "nan": float("nan")}, step=step, prefix="train")
        run.tags({"where": "first"})
        run.tags({"where": "second"})
        run.params({"train.lr": 7, "new": "x"})
        run.text("héllo", "notes/a.txt")
        run.image(tmp_path / "red.png", "red/one")
        run.dataset(Manifest(pd.DataFrame(table), ("a", "b")), "training", "cells")
        assert time.monotonic() - before < 3, "the run waited for the server"
        threading.Timer(4, server.start).start()
    entity = MlflowClient().get_run(run.id)
    assert entity.info.status == "FINISHED"
    history = MlflowClient().get_metric_history(run.id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(step, 9.0 - step / 10) for step in range(1, 50)]
    assert rows(server, "SELECT count(*) FROM metrics WHERE run_uuid = ?", run.id) == [(1 + 49 * 2,)]
    assert entity.data.tags["where"] == "second"
    assert (entity.data.params["train.lr"], entity.data.params["new"]) == ("0.001", "x")
    assert run.download("notes/a.txt").read_text(encoding="utf-8") == "héllo"
    assert len(run.artifact_names("images")) == 2
    assert [used.dataset.name for used in entity.inputs.dataset_inputs] == ["cells"]
    assert list(spool().iterdir()) == []


def test_what_a_killed_process_left_is_delivered_by_the_next_command(server, experiment, python_path):
    script = (
        "import os, sys\nfrom cellml.config import Experiment\nfrom cellml.tracking import courier, runs\n"
        "with runs.parent('train', Experiment(name='cells')) as p, runs.child(p, 't') as c:\n"
        "    courier.settle(p.id), courier.settle(c.id)\n    print(p.id, c.id, flush=True)\n    sys.stdin.readline()\n"
        "    for step in range(30):\n        c.metrics({'loss': step}, step=step)\n"
        "    c.text('x', 'x.txt')\n    print('logged', flush=True)\n    sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": python_path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    parent, child = process.stdout.readline().split()
    server.stop()
    print(file=process.stdin, flush=True)
    assert process.stdout.readline() == "logged\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.start()
    lines = runs.deliver_left()
    assert [line for line in lines if child in line and "31 entries" in line]
    assert runs.deliver_left() == []
    steps = rows(server, "SELECT step FROM metrics WHERE run_uuid = ? ORDER BY step", child)
    assert steps == [(step,) for step in range(30)]
    assert runs.existing(child).artifact_names() == ["x.txt"]
    assert list(spool().iterdir()) == []
    assert runs.status(parent) == "RUNNING"  # that its process is gone is for others to find out


def test_a_server_that_stays_away_leaves_the_journal_to_the_next_command(server, experiment, monkeypatch, caplog):
    with runs.parent("train", experiment) as run:
        courier.settle(run.id)
        monkeypatch.setenv("CELLML_PATIENCE", "2")
        server.stop()
        run.metrics({"loss": 1.0})
        with pytest.raises(UserError, match="no answer"):
            runs.status(run.id)
    assert f"lies in {spool() / run.id}" in caplog.messages[-1]
    monkeypatch.setenv("CELLML_PATIENCE", "60")
    server.start()
    with runs.parent("train", experiment):
        pass
    entity = MlflowClient().get_run(run.id)
    assert (entity.info.status, entity.data.metrics) == ("FINISHED", {"loss": 1.0})
    assert f"run {run.id}: 2 entries delivered" in caplog.text


def test_a_new_run_waits_and_is_made_once_though_its_answer_was_lost(server, experiment, monkeypatch):
    make = MlflowClient.create_run

    def lost(self, *given, **options):
        made = make(self, *given, **options)
        if len(tries) == 0:
            tries.append(made.info.run_id)
            server.stop()
            threading.Timer(2, server.start).start()
            return MlflowClient().get_run(made.info.run_id)  # fails as a request does
        return made

    tries: list[str] = []
    with runs.parent("sweep", experiment) as above:
        monkeypatch.setattr(MlflowClient, "create_run", lost)
        with runs.child(above, "t") as child:
            assert child.id == tries[0]
    assert [record.id for record in runs.children(above)] == [child.id]


def test_sigterm_while_the_server_is_away_ends_the_run_within_seconds(server, python_path):
    script = (
        "import time\nfrom cellml.config import Experiment\nfrom cellml.tracking import courier, runs\n"
        "with runs.parent('train', Experiment(name='cells')) as p:\n"
        "    courier.settle(p.id)\n    print(p.id, flush=True)\n    input()\n    p.metrics({'a': 1})\n"
        "    print(flush=True)\n    runs.status(p.id)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": python_path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    run_id = process.stdout.readline().strip()
    server.stop()
    print(file=process.stdin, flush=True)
    process.stdout.readline()
    time.sleep(1)
    before = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - before < 12
    assert "Terminated" in errors
    assert f"run {run_id} lies in" in errors
    entries = [json.loads(line) for line in (spool() / run_id / "entries").read_text().splitlines()]
    assert [entry.get("end") for entry in entries][-1] == "KILLED"
    server.start()
    runs.deliver_left()
    entity = MlflowClient().get_run(run_id)
    assert (entity.info.status, entity.data.tags[runs.REASON]) == ("KILLED", "SIGTERM")


def test_what_the_server_refuses_fails_the_run(server, experiment):
    def work():
        with runs.parent("train", experiment) as run:
            ids.append(run.id)
            run.metrics({"a+b": 1.0})

    ids: list[str] = []
    with pytest.raises(MlflowException, match=r"a\+b"):
        work()
    entity = MlflowClient().get_run(ids[0])
    assert entity.info.status == "FAILED"
    assert "a+b" in entity.data.tags[runs.REASON]

"""The servers that the other tests stand on: they answer, and go on after a stop with what they had."""

from pathlib import Path

import psycopg
import pytest
import requests
from mlflow import MlflowClient


def test_servers_go_on_after_a_stop_with_what_they_had(lab, tmp_path, monkeypatch):
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    client = MlflowClient(lab.server.url)
    run = client.create_run(client.create_experiment("stops"))
    client.log_metric(run.info.run_id, "loss", 0.5)
    (tmp_path / "a.txt").write_text("a")
    client.log_artifact(run.info.run_id, str(tmp_path / "a.txt"))
    url = lab.server.url
    lab.server.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)
    lab.postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(lab.postgres.url("mlflow"))
    lab.bucket.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(lab.bucket.url, timeout=5)
    lab.postgres.start()
    lab.bucket.start()
    lab.server.start()
    assert lab.server.url == url
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
    (tmp_path / "downloaded").mkdir()
    downloaded = client.download_artifacts(run.info.run_id, "a.txt", str(tmp_path / "downloaded"))
    assert Path(downloaded).read_text() == "a"


def test_the_server_finds_a_database_again_that_was_away(lab):
    client = MlflowClient(lab.server.url)
    before = {e.name for e in client.search_experiments()}
    lab.postgres.stop()
    lab.postgres.start()
    assert {e.name for e in client.search_experiments()} == before

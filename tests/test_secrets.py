import json
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cellml import cli
from cellml.config import Experiment
from cellml.errors import UserError
from cellml.secrets import hidden
from cellml.tracking import runs

PASSWORD = "geheim-4711"


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql+psycopg://lab:p4ss@db:5432/x?a=b", "postgresql+psycopg://lab:***@db:5432/x?a=b"),
        ("no answer from https://me:a:b%40c@host/mlflow, see", "no answer from https://me:***@host/mlflow, see"),
        ("two: http://a:bb@h and http://c:dd@h", "two: http://a:***@h and http://c:***@h"),
        ("http://:token@host/", "http://:***@host/"),
        ("sqlite:///mlflow.db and http://host:5000/a@b and s3://bucket/key@v:1", None),
        ("models:/cells@champion at 10:30@noon", None),
        ("", None),
    ],
)
def test_passwords_in_urls(text, expected):
    assert hidden(text) == (text if expected is None else expected)


def test_values_of_secret_variables(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "correct horse battery")
    monkeypatch.setenv("POSTGRES_PASSWORD", "cell")  # too short to be told from a word
    monkeypatch.setenv("CELLML_CACHE", "/cache/of/ours")
    text = "wJalrXUtnFEMI/K7MDENG by AKIAIOSFODNN7; correct horse, correct horse battery; cell in /cache/of/ours"
    assert hidden(text) == "*** by ***; ***, ***; cell in /cache/of/ours"


def test_no_secret_reaches_a_run(workspace, monkeypatch, caplog):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    url = f"postgresql://lab:{PASSWORD}@127.0.0.1:1/optuna"
    client = MlflowClient()
    made = client.create_run(client.create_experiment("e"), tags={"source": url}).info
    client.log_param(made.run_id, "storage", url)
    monkeypatch.setenv("MLFLOW_RUN_ID", made.run_id)

    def work():
        with runs.parent("train", Experiment(name="cells"), tags={"t": url}) as run:
            run.params({"url": url, "nested": {"a": [url]}})
            run.text(f"from {url}", "a.txt")
            raise RuntimeError(f"no answer from {url} with {PASSWORD}")

    with pytest.raises(RuntimeError):
        work()
    assert f"the param storage of run {made.run_id}" in caplog.text
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    entity = client.get_run(made.run_id)
    kept = {"params": {k: v for k, v in entity.data.params.items() if k != "storage"}, "tags": entity.data.tags}
    assert PASSWORD not in json.dumps(kept)
    assert "postgresql://lab:***@127.0.0.1:1/optuna" in kept["params"]["nested"]
    assert kept["tags"]["source"] == "postgresql://lab:***@127.0.0.1:1/optuna"
    folder = Path(client.download_artifacts(made.run_id, "", str(workspace / "artifacts")))
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}
    assert {"a.txt", "config.yaml", "error.txt"} <= set(texts)
    assert PASSWORD not in "".join(texts.values())


@pytest.mark.parametrize("kind", [UserError, RuntimeError])
def test_no_secret_is_printed_by_the_command_line(monkeypatch, capfd, kind):
    def fail(*given, **options):
        raise kind(f"no answer from https://lab:{PASSWORD}@host")

    monkeypatch.setattr(cli, "cli", fail)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    if kind is UserError:
        with pytest.raises(SystemExit):
            cli.main()
    else:
        with pytest.raises(kind) as caught:
            cli.main()
        sys.excepthook(kind, caught.value, caught.tb)
    shown = capfd.readouterr().err
    assert "https://lab:***@host" in shown
    assert PASSWORD not in shown

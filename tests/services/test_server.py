"""The tracking server on a shared network: accounts, names it may be called by, pages that may call it, secrets."""

import subprocess
from pathlib import Path

import psutil
import pytest
import requests
from mlflow import MlflowClient, MlflowException
from mlflow.server import get_app_client

from tests.services.lab import SCRIPTS

PASSWORD, SECRET = "a-long-password", "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def guarded(make_server, postgres):
    """A server with accounts, known as lab.example."""
    server = make_server(
        MLFLOW_AUTH="true",
        MLFLOW_AUTH_DATABASE_URI=postgres.url("mlflow_auth"),
        MLFLOW_AUTH_ADMIN_PASSWORD=PASSWORD,
        MLFLOW_FLASK_SERVER_SECRET_KEY=SECRET,
        MLFLOW_SERVER_ALLOWED_HOSTS="127.0.0.1:*,lab.example:*",
        MLFLOW_SERVER_CORS_ALLOWED_ORIGINS="http://lab.example:5000",
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def account(monkeypatch):
    """Says who calls from now on."""

    def use(name, password):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    return use


def ask(server, headers, auth=("admin", PASSWORD)):
    body = {"experiment_ids": ["0"], "max_results": 1}
    return requests.post(f"{server.url}/api/2.0/mlflow/runs/search", json=body, headers=headers, auth=auth, timeout=30)


def test_a_name_and_a_password_are_asked_for(guarded):
    assert ask(guarded, {}).status_code == 200
    assert ask(guarded, {}, auth=None).status_code == 401
    assert ask(guarded, {}, auth=("admin", "wrong")).status_code == 401
    assert ask(guarded, {}, auth=("admin", "password1234")).status_code == 401


def test_it_answers_to_its_names_alone(guarded):
    assert ask(guarded, {"Host": "lab.example:5000"}).status_code == 200
    refused = ask(guarded, {"Host": "elsewhere.example"})
    assert (refused.status_code, "Invalid Host header" in refused.text) == (403, True)


def test_pages_of_its_own_name_may_call_it_and_others_not(guarded):
    assert ask(guarded, {"Origin": "http://lab.example:5000"}).status_code == 200
    assert ask(guarded, {"Origin": "http://elsewhere.example"}).status_code == 403


def test_people_change_what_is_theirs_alone(guarded, account):
    account("admin", PASSWORD)
    accounts = get_app_client("basic-auth", tracking_uri=guarded.url)
    for name in ("ann", "bob"):
        accounts.create_user(name, f"{name}-{PASSWORD}")
    client = MlflowClient(guarded.url, guarded.url)
    account("ann", f"ann-{PASSWORD}")
    experiment = client.create_experiment("of ann")
    run = client.create_run(experiment)
    client.log_metric(run.info.run_id, "loss", 1.0)
    account("bob", f"bob-{PASSWORD}")
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 1.0}
    with pytest.raises(MlflowException, match=r"(?i)permission denied|403"):
        client.log_metric(run.info.run_id, "loss", 2.0)


def test_accounts_are_kept_in_postgresql(guarded, postgres):
    found = postgres.query(
        "mlflow_auth", "SELECT username, password_hash, is_admin FROM users WHERE username = 'admin'"
    )
    assert found[0][::2] == ("admin", True)
    assert PASSWORD not in found[0][1]


def test_no_secret_stands_in_a_list_of_processes(guarded, postgres):
    family = psutil.Process(guarded._process.pid)
    lines = [" ".join(p.cmdline()) for p in [family, *family.children(recursive=True)]]
    assert any("mlflow" in line for line in lines)
    for secret in (PASSWORD, SECRET, *postgres.passwords.values()):
        assert not [line for line in lines if secret in line]
    assert PASSWORD not in guarded.log.read_text()


def test_a_command_with_the_right_password_works_and_with_another_says_so(guarded, bucket, project):
    own = bucket.environment | {"MLFLOW_TRACKING_URI": guarded.url, "MLFLOW_TRACKING_USERNAME": "admin"}
    done = project.cellml("data", "--experiment", "tiny.yaml", **own, MLFLOW_TRACKING_PASSWORD="a-wrong-password")
    assert (done.returncode, done.stdout) == (
        2,
        f"error: The tracking server {guarded.url} refuses this name and password; set MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD\n",
    )
    done = project.cellml("data", "--experiment", "tiny.yaml", **own, MLFLOW_TRACKING_PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stdout
    client = MlflowClient(guarded.url, guarded.url)
    with pytest.raises(MlflowException, match="401"):
        client.get_experiment_by_name("tiny")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"MLFLOW_AUTH": "yes"}, "expected MLFLOW_AUTH as true or false, got 'yes'"),
        ({"MLFLOW_AUTH": "true"}, "MLFLOW_AUTH_DATABASE_URI: expected"),
        ({"MLFLOW_AUTH": "true", "MLFLOW_AUTH_DATABASE_URI": "x"}, "MLFLOW_AUTH_ADMIN_PASSWORD: expected"),
        (
            {"MLFLOW_ARTIFACTS_DESTINATION": "s3://absent/artifacts"},
            "Expected a bucket at s3://absent/artifacts, found none",
        ),
        ({"AWS_ACCESS_KEY_ID": ""}, "Expected credentials for s3://cellml/artifacts"),
    ],
)
def test_it_does_not_start_without_what_it_needs(make_server, tmp_path, settings, said):
    server = make_server(**settings)
    given = server.environment | {"AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_CONFIG_FILE": "/none"}
    done = subprocess.run([SCRIPTS / "server.sh"], env=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(Path(tmp_path).iterdir())

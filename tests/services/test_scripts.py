"""What the containers run: databases, bucket, backup and restore, without a container engine."""

import subprocess
import sys
from pathlib import Path

import boto3
import mlflow
import psycopg
import pytest
from mlflow import MlflowClient

from tests.conftest import ROOT
from tests.services.lab import SCRIPTS, Bucket, Postgres, Server, plain_environment


def script(name: str, *words: str | Path, **environment: str) -> subprocess.CompletedProcess:
    """A script's output, both streams together."""
    command = [sys.executable, SCRIPTS / name] if name.endswith(".py") else [SCRIPTS / name]
    given = plain_environment() | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        [*command, *words],
        env=given,
        text=True,
        timeout=300,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_databases_are_made_once_and_passwords_set_again(postgres):
    psycopg.connect(postgres.url("mlflow")).close()
    before = postgres.query("postgres", "SELECT oid, datname, datdba FROM pg_database ORDER BY oid")
    again = script("databases.sh", **postgres.environment | {"OPTUNA_DB_PASSWORD": "it's 1 % other"})
    assert again.returncode == 0, again.stdout
    assert postgres.query("postgres", "SELECT oid, datname, datdba FROM pg_database ORDER BY oid") == before
    assert {row[1] for row in before} >= {"mlflow", "mlflow_auth", "optuna"}
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url("optuna"))
    psycopg.connect(
        host="127.0.0.1", port=postgres.port, user="optuna", dbname="optuna", password="it's 1 % other"
    ).close()
    postgres.make_databases()
    psycopg.connect(postgres.url("optuna")).close()


def test_a_role_opens_its_own_databases_alone(postgres):
    other = postgres.url("optuna").rpartition("/")[0] + "/mlflow"
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(other)
    roles = dict(postgres.query("postgres", "SELECT rolname, rolsuper FROM pg_roles WHERE rolcanlogin"))
    assert roles == {"postgres": True, "mlflow": False, "optuna": False}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("databases.sh", "MLFLOW_DB_PASSWORD"),
        ("server.sh", "MLFLOW_BACKEND_STORE_URI"),
        ("worker.sh", "MLFLOW_TRACKING_URI"),
        ("backup.sh", "BUCKET"),
        ("restore.sh", "BUCKET"),
    ],
)
def test_a_script_names_what_it_lacks(name, missing, tmp_path):
    done = script(name, tmp_path)
    assert done.returncode != 0
    assert len(done.stdout.splitlines()) == 1
    assert f"{missing}: expected" in done.stdout


def test_the_bucket_is_made_once(bucket):
    for said in ("made", "is there"):
        done = script("bucket.py", "make", "s3://another", **bucket.environment)
        assert (done.returncode, done.stdout) == (0, f"s3://another {said}\n")
    wrong = script("bucket.py", "mend", "s3://another", **bucket.environment)
    assert wrong.returncode == 1
    assert (
        wrong.stdout
        == "error: Expected make URI, check URI, save URI FOLDER or load URI FOLDER, got mend s3://another\n"
    )


def test_a_bucket_is_made_in_the_region_of_the_environment(bucket):
    done = script("bucket.py", "make", "s3://elsewhere", **bucket.environment | {"AWS_DEFAULT_REGION": "eu-central-1"})
    assert (done.returncode, done.stdout) == (0, "s3://elsewhere made\n")
    client = boto3.client(
        "s3", endpoint_url=bucket.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    assert client.get_bucket_location(Bucket="elsewhere")["LocationConstraint"] == "eu-central-1"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({}, "-m cellml worker --wait"),
        (
            {"CELLML_STUDY": "a b", "CELLML_WORKER_DATA": "s3://b/i"},
            "-m cellml worker --wait --study a b --data s3://b/i",
        ),
    ],
)
def test_a_worker_gets_its_addresses_by_the_environment(tmp_path, extra, words):
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@" "$CELLML_STORAGE"\n')
    (tmp_path / "python").chmod(0o755)
    given = {"MLFLOW_TRACKING_URI": "http://x", "CELLML_STORAGE": "postgresql://u:p@h/d"} | extra
    done = script("worker.sh", **given, PATH=f"{tmp_path}:{plain_environment()['PATH']}")
    assert (done.returncode, done.stdout) == (0, f"{words} postgresql://u:p@h/d\n")


def test_the_bucket_waits_for_its_store():
    store = Bucket("later")
    waiting = subprocess.Popen(
        [sys.executable, SCRIPTS / "bucket.py", "make", "s3://later"],
        env=plain_environment() | {"PYTHONPATH": str(ROOT)} | store.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=6)
        store.start()
        assert waiting.communicate(timeout=60)[0] == "s3://later made\n"
        assert store.keys() == []
    finally:
        waiting.kill()
        store.stop()


def test_saving_a_bucket_again_fetches_what_changed(bucket, tmp_path):
    content = {"a.txt": "a", "deep/er/b.txt": "b", "c.txt": "c"}
    for name, text in content.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    uri = bucket.put(tmp_path / "in", "saved")
    done = script("bucket.py", "save", uri, tmp_path / "out", **bucket.environment)
    assert done.stdout.endswith("/out, 3 of them fetched, 0 files deleted\n")
    assert {
        p.relative_to(tmp_path / "out").as_posix(): p.read_text() for p in (tmp_path / "out").rglob("*.txt")
    } == content
    (tmp_path / "in" / "a.txt").write_text("longer")
    (tmp_path / "out" / "c.txt").write_text("damaged")
    (tmp_path / "out" / "gone.txt").write_text("gone")
    bucket.put(tmp_path / "in", "saved")
    script("bucket.py", "save", uri, tmp_path / "out", **bucket.environment)
    assert {p.name: p.read_text() for p in (tmp_path / "out").rglob("*.txt")} == {
        "a.txt": "longer",
        "b.txt": "b",
        "c.txt": "c",
    }


def test_a_backup_brings_back_runs_models_and_artifacts(lab, make_server, tmp_path):
    """Everything is restored into an empty database server and a store without a bucket."""
    client = MlflowClient(lab.server.url, lab.server.url)
    run = client.create_run(client.create_experiment("kept"))
    for step in range(3):
        client.log_metric(run.info.run_id, "loss", 1 / (step + 1), step=step)
    (tmp_path / "weights.txt").write_text("w")
    client.log_artifact(run.info.run_id, str(tmp_path / "weights.txt"), "weights")
    client.create_registered_model("kept")
    client.create_model_version("kept", f"runs:/{run.info.run_id}/weights", run.info.run_id)
    client.set_registered_model_alias("kept", "champion", "1")
    address = {"BUCKET": f"s3://{lab.bucket.name}"}
    done = script("backup.sh", tmp_path / "backup", **lab.postgres.environment, **lab.bucket.environment, **address)
    assert done.returncode == 0, done.stdout
    client.log_metric(run.info.run_id, "loss", 9, step=9)

    postgres, bucket = Postgres(lab.postgres.bin), lab.bucket
    objects = sorted(bucket.keys())
    try:
        postgres.start()
        bucket.remove()
        given = {**postgres.environment, **bucket.environment, **address}
        absent = script("restore.sh", tmp_path / "none", **given)
        assert absent.returncode == 2
        assert absent.stdout == f"error: expected {tmp_path}/none/mlflow.dump, found none\n"
        for _ in range(2):  # over a database that is not empty, too
            done = script("restore.sh", tmp_path / "backup", **given)
            assert done.returncode == 0, done.stdout
        assert sorted(bucket.keys()) == objects
        server = Server(
            {
                "MLFLOW_BACKEND_STORE_URI": postgres.url("mlflow"),
                "MLFLOW_ARTIFACTS_DESTINATION": "s3://cellml/artifacts",
                **bucket.environment,
            },
            tmp_path,
        )
        try:
            server.start()
            restored = MlflowClient(server.url, server.url)
            history = restored.get_metric_history(run.info.run_id, "loss")
            assert [(m.step, m.value) for m in history] == [(0, 1), (1, 0.5), (2, pytest.approx(1 / 3))]
            assert restored.get_model_version_by_alias("kept", "champion").run_id == run.info.run_id
            where = f"runs:/{run.info.run_id}/weights/weights.txt"
            path = mlflow.artifacts.download_artifacts(where, tracking_uri=server.url)
            assert Path(path).read_text() == "w"
            restored.create_experiment("after")  # sequences go on behind what was restored
        finally:
            server.stop()
    finally:
        postgres.remove()

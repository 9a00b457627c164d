"""What is wrong with a lab is one line that says what to do; nothing is left half-written."""

import pytest
import requests

from tests.services.lab import free_port

WORDS = ["data", "--experiment", "bucket.yaml", "--data"]


def fails(done, *expected):
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert done.returncode == 2, done.stdout
    assert lines[-1].startswith("error: "), done.stdout
    assert "Traceback" not in done.stdout
    for text in expected:
        assert text in lines[-1]


@pytest.fixture
def folders(project):
    (project.folder / "bucket.yaml").write_text("name: bucket\ndata: {source: folders}\n")
    return project


def test_a_bucket_that_is_not_there(folders, bucket):
    done = folders.cellml(*WORDS, "s3://absent/images", **bucket.environment)
    fails(done, f"Expected a bucket at s3://absent/images, found none at {bucket.url}; check its name")
    assert {r.info.status for r in folders.all_runs()} <= {"FAILED"}
    assert not list((folders.folder / "cache").rglob("*.png"))


def test_keys_that_the_store_does_not_know(folders, bucket):
    requests.post(f"{bucket.url}/moto-api/reset-auth", data=b"0", timeout=10)
    try:
        done = folders.cellml(*WORDS, f"s3://{bucket.name}/images", **bucket.environment)
    finally:
        requests.post(f"{bucket.url}/moto-api/reset-auth", data=b"inf", timeout=10)
    fails(done, f"s3://{bucket.name}/images refuses these credentials (InvalidAccessKeyId)", "AWS_ACCESS_KEY_ID")
    assert "secret" not in done.stdout


def test_a_store_that_is_away(folders, bucket):
    url = f"http://127.0.0.1:{free_port()}"
    done = folders.cellml(*WORDS, "s3://cellml/images", **bucket.environment | {"MLFLOW_S3_ENDPOINT_URL": url})
    fails(done, f"s3://cellml/images cannot be read at {url}: Could not connect", "check AWS_ENDPOINT_URL_S3")


def test_a_wrong_password_of_the_database_of_sweeps(folders, postgres):
    url = postgres.url("optuna", "a-wrong-password")
    done = folders.cellml("sweep", "--experiment", "tiny.yaml", "--storage", url)
    fails(
        done,
        f"Expected an Optuna database at 127.0.0.1:{postgres.port}/optuna",
        "correct the user or the password in storage",
    )
    assert "a-wrong-password" not in done.stdout
    assert "images" not in done.stdout  # it is told before any is read
    assert {r.info.status for r in folders.all_runs()} == {"FAILED"}


@pytest.mark.parametrize("kind", ["tracking", "sweeps"])
def test_a_database_of_another_version(folders, postgres, kind):
    """As a newer MLflow or Optuna would leave it."""
    owner, name = ("mlflow", "mlflow_newer") if kind == "tracking" else ("optuna", "newer")
    postgres.execute("postgres", f"DROP DATABASE IF EXISTS {name}")
    postgres.execute("postgres", f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0")
    url = f"postgresql+psycopg://{owner}:{postgres.passwords[owner]}@127.0.0.1:{postgres.port}/{name}"
    given = {"MLFLOW_TRACKING_URI": url} if kind == "tracking" else {}
    words = ["sweep", "--experiment", "tiny.yaml", "--sweep.trials", "1", "--train.epochs", "1"]
    words += ["--data.options.count", "60"] + (["--storage", url] if kind == "sweeps" else [])
    table = "alembic_version"
    if kind == "tracking":
        postgres.execute(name, f"CREATE TABLE {table} (version_num varchar(32) PRIMARY KEY)")
        postgres.execute(name, f"INSERT INTO {table} VALUES ('ffffffffffff')")
        postgres.execute(name, f"ALTER TABLE {table} OWNER TO {owner}")
    else:
        import optuna

        optuna.storages.RDBStorage(url)
        postgres.execute(name, f"UPDATE {table} SET version_num = 'v99.0.0.a'")
    done = folders.cellml(*words, **given)
    fails(done, "version" if kind == "sweeps" else "found those of another version", name)
    assert postgres.passwords[owner] not in done.stdout

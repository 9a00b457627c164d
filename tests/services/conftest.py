"""Real servers, started once for a session; skipped where PostgreSQL is not installed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Project, make_project
from tests.services.lab import Bucket, Lab, Postgres, Server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server with the databases of MLflow and Optuna."""
    server = Postgres(_postgres_bin())
    try:
        server.start()
        server.make_databases()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def bucket() -> Iterator[Bucket]:
    """An S3 store with an empty bucket."""
    store = Bucket()
    try:
        store.start()
        store.make()
        yield store
    finally:
        store.stop()


@pytest.fixture(scope="session")
def make_server(postgres: Postgres, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory):
    """A tracking server on them that has not been started, its settings changed by name."""
    made = []

    def make(**settings: str) -> Server:
        environment = {
            "MLFLOW_BACKEND_STORE_URI": postgres.url("mlflow"),
            "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{bucket.name}/artifacts",
        }
        server = Server(environment | bucket.environment | settings, tmp_path_factory.mktemp("server"))
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def lab(postgres: Postgres, bucket: Bucket, make_server, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """PostgreSQL, S3 and a tracking server over both, all running when a test begins."""
    server = make_server()
    server.start()
    return Lab(postgres, bucket, server, tmp_path_factory.mktemp("lab"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The project in a folder of its own; `project.cellml("sweep", ..., **lab.environment)` works in the lab."""
    return make_project(tmp_path)


def _postgres_bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    if (named := shutil.which("postgres")) and os.geteuid() != 0:
        return Path(named).parent
    pytest.skip("no PostgreSQL server here; apt-get install postgresql")

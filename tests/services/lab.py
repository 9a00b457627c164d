"""A lab's servers on loopback: PostgreSQL, an S3 store MLflow's tracking server; each can be stopped and started."""

import logging
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import boto3
import psycopg
from moto.server import ThreadedMotoServer

from tests.conftest import ROOT

SCRIPTS = ROOT / "docker"
PATIENCE = 180.0  # seconds until a server must answer


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait(answers: Callable[[], bool], what: str, process: subprocess.Popen | None, log: Path | None) -> None:
    """Return as soon as a server answers; fail with its log where it ends or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not answers():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-3000:] if log else ""
            raise RuntimeError(f"{what} {'ended' if ended else 'does not answer'}:\n{tail}")
        time.sleep(0.1)


def end(process: subprocess.Popen | None, number: int = signal.SIGTERM, grace: float = 20.0) -> None:
    """End a process that leads a session of its own, and all that it started."""
    if process is None:
        return
    for signum in (number, signal.SIGKILL):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and _group_lives(process):
            time.sleep(0.05)
    process.wait(timeout=grace)


def plain_environment() -> dict[str, str]:
    """The environment without what says where servers are, and with the scripts of this Python first in the path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "AWS_", "PG", "CELLML_STORAGE"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


class Postgres:
    """A PostgreSQL server with the databases that docker/databases.sh makes."""

    def __init__(self, bin_folder: Path) -> None:
        """Initialise a cluster in a folder of its own; nothing runs yet."""
        self.bin, self.port = bin_folder, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="cellml-postgres-"))
        self.log = self.folder / "log"
        self.passwords = {name: secrets.token_hex(12) for name in ("postgres", "mlflow", "optuna")}
        self._process: subprocess.Popen | None = None
        account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None  # the server refuses to run as root
        self._as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        password = self.folder / "password"
        password.write_text(self.passwords["postgres"])
        if account:
            for path in (self.folder, password):
                os.chown(path, account.pw_uid, account.pw_gid)
        words = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync", "--encoding=UTF8"]
        command = [str(bin_folder / "initdb"), "-D", str(self.folder / "data"), *words, "--locale=C"]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._as)
        password.unlink()

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 200,
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [str(self.bin / "postgres"), "-D", str(self.folder / "data"), *words]
        with open(self.log, "a") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True, **self._as
            )
        wait(self._answers, "PostgreSQL", self._process, self.log)

    def stop(self) -> None:
        """Close every connection and stop; `start` goes on with the same data on the same port."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": a group's signal would reach the backends, too
            self._process.wait(timeout=60)
            self._process = None

    def remove(self) -> None:
        """Stop and delete the data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def make_databases(self) -> None:
        """What the one-shot service of the compose file does."""
        subprocess.run([SCRIPTS / "databases.sh"], check=True, env=plain_environment() | self.environment, timeout=120)

    def url(self, database: str, password: str | None = None) -> str:
        """Address of a database for its owner."""
        role = "mlflow" if database.startswith("mlflow") else database
        return f"postgresql://{role}:{password or self.passwords[role]}@127.0.0.1:{self.port}/{database}"

    @property
    def environment(self) -> dict[str, str]:
        """For docker/databases.sh and the tools of PostgreSQL."""
        return {
            "PATH": f"{self.bin}{os.pathsep}{plain_environment()['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGPASSWORD": self.passwords["postgres"],
            "MLFLOW_DB_PASSWORD": self.passwords["mlflow"],
            "OPTUNA_DB_PASSWORD": self.passwords["optuna"],
        }

    def execute(self, database: str, sql: str) -> None:
        """Run a statement as the superuser, outside a transaction."""
        with self._connect(database) as connection:
            connection.autocommit = True
            connection.execute(sql)

    def query(self, database: str, sql: str) -> list[tuple]:
        """What a statement gives, asked as the superuser."""
        with self._connect(database) as connection:
            return connection.execute(sql).fetchall()

    def _connect(self, database: str = "postgres") -> psycopg.Connection:
        password = self.passwords["postgres"]
        where = {"host": "127.0.0.1", "port": self.port, "dbname": database}
        return psycopg.connect(user="postgres", password=password, connect_timeout=5, **where)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


class Bucket:
    """An S3 store over HTTP with one bucket; what it holds stays while it is stopped."""

    def __init__(self, name: str = "cellml") -> None:
        """Choose a port; nothing runs yet."""
        self.name, self.port = name, free_port()
        self._requests = _Requests()
        self._server: ThreadedMotoServer | None = None

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What commands need to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "MLFLOW_S3_ENDPOINT_URL": self.url,
        }

    def start(self) -> None:
        """Start, and wait until it answers."""
        logging.getLogger("werkzeug").addHandler(self._requests)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        wait(lambda: _listens(self.port), "the S3 store", None, None)

    def stop(self) -> None:
        """Stop answering; `start` goes on with the same objects on the same port."""
        if self._server is not None:
            self._server.stop()
            self._server = None
            logging.getLogger("werkzeug").removeHandler(self._requests)

    def gets(self, prefix: str) -> Counter[str]:
        """How often each object below a prefix was fetched so far."""
        start = f"/{self.name}/{prefix}"
        found = (line.split("?")[0] for line in self._requests.gets if line.startswith(start))
        return Counter(unquote(path).removeprefix(f"/{self.name}/") for path in found)

    def make(self) -> None:
        """Create the bucket."""
        self._resource().create()

    def remove(self) -> None:
        """Delete the bucket and what it holds."""
        self._resource().objects.delete()
        self._resource().delete()

    def put(self, folder: Path, prefix: str) -> str:
        """Upload a folder's files; returns s3://bucket/prefix."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._resource().upload_file(str(path), f"{prefix}/{path.relative_to(folder).as_posix()}")
        return f"s3://{self.name}/{prefix}"

    def keys(self, prefix: str = "") -> list[str]:
        """Names of the objects below a prefix."""
        return [item.key for item in self._resource().objects.filter(Prefix=prefix)]

    def _resource(self):
        return boto3.resource(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        ).Bucket(self.name)


class Server:
    """`mlflow server` as docker/server.sh starts it."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        """Choose a port; nothing runs yet.

        Args:
            environment: for docker/server.sh.
            folder: where it works and keeps `server.log`.
        """
        self.port, self.folder = free_port(), folder
        self.log = folder / "server.log"
        own = {"MLFLOW_HOST": "127.0.0.1", "MLFLOW_PORT": str(self.port), "MLFLOW_WORKERS": "1"}
        self.environment = plain_environment() | {"PYTHONPATH": str(ROOT)} | environment | own
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """The tracking URI."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        with open(self.log, "a") as log:
            self._process = subprocess.Popen(
                [SCRIPTS / "server.sh"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait(lambda: _healthy(self.url), "the tracking server", self._process, self.log)

    def stop(self) -> None:
        """End it with all its processes; `start` goes on with the same data on the same port."""
        end(self._process)
        self._process = None


@dataclass
class Lab:
    """The three servers of a lab."""

    postgres: Postgres
    bucket: Bucket
    server: Server
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Where everything is, for a command of this project."""
        storage = {"MLFLOW_TRACKING_URI": self.server.url, "CELLML_STORAGE": self.postgres.url("optuna")}
        return storage | self.bucket.environment


class _Requests(logging.Handler):
    """Paths of the GET requests that werkzeug logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.gets: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.search(r'"(?:\x1b\[\S*m)?GET (\S+) HTTP', record.getMessage()):
            self.gets.append(found[1])


def _group_lives(process: subprocess.Popen) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False

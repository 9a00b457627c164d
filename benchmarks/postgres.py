"""A PostgreSQL server of one's own on a free port of the loopback address, for the length of a block."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"


def programs() -> Path:
    """The folder with initdb and pg_ctl: that of the newest version installed, or of the path.

    Raises:
        SystemExit: there is none.
    """
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if installed:
        return installed[-1]
    if found := shutil.which("initdb"):
        return Path(found).parent
    raise SystemExit(
        "expected PostgreSQL's programs in /usr/lib/postgresql, found none; install the package postgresql"
    )


@contextmanager
def server() -> Iterator[str]:
    """URL of an empty database; its server keeps its default settings, so that a commit waits for the disk.

    PostgreSQL does not run as root: root's server runs as the user that Debian's package makes.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
    bin_folder, port = programs(), free_port()
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    try:
        _run(str(bin_folder / "initdb"), "-D", f"{folder}/data", "-U", USER, "--auth=trust", "-E", "UTF8")
        _run(str(bin_folder / "pg_ctl"), "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "-w", "start")
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        finally:
            _run(str(bin_folder / "pg_ctl"), "-D", f"{folder}/data", "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str) -> None:
    own = ["runuser", "-u", USER, "--", *command] if os.geteuid() == 0 else list(command)
    subprocess.run(own, check=True, stdout=subprocess.DEVNULL, cwd="/")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

"""Commands that begin where imports end: a process with the libraries forks for `python -m cellml` and `mlflow run`.

Importing takes longer than most of what end-to-end tests do. Words, folder, environment, standard streams and exit
status are those of the command; what signals do is tested on processes of their own (`Project.start`).

    python -m tests.e2e.preloaded SOCKET    serves until its standard input ends
"""

import atexit
import functools
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = ("cellml.commands", "cellml.sweep.workers", "mlflow.cli", "mlflow.projects.backend.local")
CLIENT = """#!{python} -IS
import json, os, socket, sys
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
if words[:3] != ["python", "-m", "cellml"] and words[:2] != ["mlflow", "run"]:
    real = os.path.join({folder!r}, words[0])
    os.execv(real, [real, *words[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(asked).to_bytes(8, "big")], [0, 1, 2])
server.sendall(asked)
status = server.recv(4)
sys.exit(int.from_bytes(status, "big", signed=True) if status else "the process with the libraries has ended")
"""


@functools.cache
def folder() -> Path:
    """A folder with `python` and `mlflow` for the front of a PATH; the process behind them ends with this one."""
    own = Path(tempfile.mkdtemp(prefix="cellml-preloaded-"))
    address, python = str(own / "socket"), Path(sys.executable)
    for name in ("python", "mlflow"):
        (own / name).write_text(CLIENT.format(python=python, folder=str(python.parent), address=address))
        (own / name).chmod(0o755)
    command = [sys.executable, "-m", "tests.e2e.preloaded", address]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert server.stdout.readline() == b"ready\n"
    atexit.register(_end, server, own)
    return own


def _end(server: subprocess.Popen, own: Path) -> None:
    server.stdin.close()
    server.wait(30)
    shutil.rmtree(own)


def serve(address: str) -> None:
    """Fork for every command that comes, until standard input ends."""
    before = dict(os.environ)
    for name in MODULES:
        importlib.import_module(name)
    made = {name: value for name, value in os.environ.items() if before.get(name) != value}
    with socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as waiting:
        server.bind(address)
        server.listen(16)
        waiting.register(server, selectors.EVENT_READ)
        waiting.register(0, selectors.EVENT_READ)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
        os.write(1, b"ready\n")
        while all(key.fileobj is server for key, _ in waiting.select()):
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _answer(client, made)
            client.close()


def _answer(client: socket.socket, made: dict[str, str]) -> None:
    """Run what is asked in a process of its own, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(client, 8, 3)
    asked = b""
    while len(asked) < int.from_bytes(size, "big"):
        asked += client.recv(1 << 16)
    words, cwd, environment = json.loads(asked)
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        client.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
        os._exit(0)
    client.close()
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for own, given in enumerate(streams):
        os.dup2(given, own)
        os.close(given)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(made | environment)
    if words[0] == "mlflow":
        sys.argv = words
        importlib.import_module("mlflow.cli").cli()
    else:
        sys.argv = words[2:]
        runpy.run_module("cellml", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    serve(sys.argv[1])

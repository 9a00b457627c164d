"""Which process is at work, told from every other on any machine, and whether it still is."""

import os
import socket
from typing import Any

import psutil


def this_process() -> dict[str, Any]:
    """What tells this process from every other one, on any machine and in any container."""
    process = psutil.Process()
    return {"host": _host(), "pid": process.pid, "started": process.create_time()}


def gone(process: dict[str, Any]) -> bool | None:
    """Whether a process has ended; None where only another machine can tell."""
    if process["host"] != _host():
        return None
    try:
        found = psutil.Process(process["pid"])
        return abs(found.create_time() - process["started"]) >= 2 or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _host() -> str:
    """The machine's name; in a container also which one, since processes are numbered anew in each."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()

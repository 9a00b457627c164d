"""Optuna's gRPC proxy: many workers on one database through one process that holds its connections.

A worker opens `grpc://HOST:PORT` in place of the database's URL. The proxy knows no passwords and encrypts nothing: it
belongs on a network that only the workers share.
"""

import os
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import optuna

from cellml.errors import UserError

SCHEME = "grpc"
PATIENCE = 10.0  # seconds for a proxy to answer
HIGHEST = 65535  # port


def client(url: str, patience: float = PATIENCE) -> optuna.storages.BaseStorage:
    """The storage behind a proxy.

    Args:
        url: `grpc://HOST:PORT`.
        patience: seconds for the proxy to answer.

    Raises:
        UserError: that is no such URL, or no proxy answers there.
    """
    host, port = _address(url)
    storage = optuna.storages.GrpcStorageProxy(host=f"[{host}]" if ":" in host else host, port=port)
    try:
        storage.wait_server_ready(timeout=patience)
    except ConnectionError:
        storage.close()
        raise UserError(
            f"Expected an answer from the proxy at {url}, got none within {patience:g} s; start it with "
            f"python -m cellml proxy --storage URL --port {port}"
        ) from None
    return storage


def database(url: str) -> str:
    """The database that a proxy is to serve: the one given, or CELLML_STORAGE.

    Raises:
        UserError: there is none, or it is a proxy itself.
    """
    url = url or os.environ.get("CELLML_STORAGE", "")
    if not url or url.startswith(f"{SCHEME}://"):
        raise UserError(
            f"Expected the URL of a database for a proxy to serve, got {url or 'none'}; give it with --storage"
        )
    return url


def serve(storage: optuna.storages.BaseStorage, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a database to workers until the process is ended.

    Raises:
        UserError: the address is in use or not this machine's.
    """
    _check(host, port)
    say(f"workers reach the database at {SCHEME}://{host}:{port}; Ctrl-C ends the proxy")
    try:
        optuna.storages.run_grpc_proxy_server(storage, host=host, port=port)
    except KeyboardInterrupt:
        say("the proxy has ended")


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    plain = not (parts.path.strip("/") or parts.query or parts.username)
    if parts.scheme != SCHEME or not parts.hostname or not port or not plain:
        raise UserError(f"Expected {SCHEME}://HOST:PORT as the address of a proxy, got {url}")
    return parts.hostname, port


def _check(host: str, port: int) -> None:
    """gRPC shares a port that is in use, and names no reason where it cannot bind: ask the system first."""
    if not 0 < port <= HIGHEST:
        raise UserError(f"Expected a port from 1 to {HIGHEST}, got {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UserError(
            f"Expected an address of this machine that is free, got {host}:{port}: {error.strerror}; change --host or "
            "--port"
        ) from None

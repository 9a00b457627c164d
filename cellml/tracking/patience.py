"""Waiting for a tracking server that is away: restarted, overloaded, or behind a network that is down."""

import logging
import math
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import requests
import urllib3
from botocore import exceptions as boto
from mlflow.exceptions import MlflowException

from cellml.errors import Away, UserError
from cellml.tracking import environment

T = TypeVar("T")
TOKEN = "cellml.token"

PATIENCE = 600.0  # seconds that a server may be away, unless CELLML_PATIENCE says otherwise
BRIEF = 60.0  # of them for the answer 500, which a fault that stays gives, too
NAP, LONGEST_NAP = 0.2, 3.0  # seconds between tries
QUIET = 3.0  # seconds of waiting before the user is told
_AWAY = (408, 429, 502, 503, 504)  # a server that is starting, stopping or overloaded
_BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.ProtocolError,
    boto.ConnectionError,
    boto.HTTPClientError,
    ConnectionError,
    TimeoutError,
)
_log = logging.getLogger(__name__)


def seconds() -> float:
    """How long a tracking server may be away: CELLML_PATIENCE.

    Raises:
        UserError: it is no number of seconds.
    """
    text = os.environ.get("CELLML_PATIENCE") or str(PATIENCE)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise UserError(f"Expected a number of seconds in CELLML_PATIENCE, got {text!r}; 600, say, or leave it unset")
    return value


def grace(error: BaseException) -> float:
    """Seconds that what an error tells of may last: without end for a server that is away, 0 where it refuses."""
    for one in _chain(error):
        if isinstance(one, requests.exceptions.SSLError):
            return 0
        if (status := _status(one)) is not None:
            return BRIEF if status == 500 else math.inf if status in _AWAY else 0
        if isinstance(one, _BROKEN):
            return math.inf
    return 0


def forbidden(error: BaseException) -> bool:
    """Whether the server asks for another user, or for rights that this one does not have."""
    if isinstance(error, MlflowException):
        return error.get_http_status_code() in (401, 403)
    return _status(error) in (401, 403)


def patiently(call: Callable[[], T]) -> T:
    """The result of a call, tried again while the server is away; the call must be one that may come twice.

    Raises:
        Away: it stayed away.
    """
    started, nap, told = time.monotonic(), NAP, False
    while True:
        try:
            return call()
        except Exception as error:
            allowed, waited = min(grace(error), seconds()), time.monotonic() - started
            if not grace(error):
                raise
            if waited >= allowed:
                raise Away(line(_got(error), waited)) from None
            if not told and waited > QUIET:
                told = True
                _log.warning("the MLflow tracking server %s gives %s: waiting for it", environment.shown(), _got(error))
        time.sleep(nap)
        nap = min(nap * 1.5, LONGEST_NAP)


def token() -> dict[str, str]:
    """A tag for what a server makes, by which `once` finds it again; none for a database."""
    return {TOKEN: uuid.uuid4().hex} if environment.server() else {}


def tagged(token: Mapping[str, str]) -> str:
    """The condition that finds what carries a token."""
    return " AND ".join(f"tags.`{key}` = '{value}'" for key, value in token.items())


def once(make: Callable[[], T], find: Callable[[], T | None]) -> T:
    """What `make` makes, made once, also where the server made it and its answer was lost.

    Args:
        make: asks the server for something new.
        find: looks for what an earlier try has made.

    Raises:
        Away: as `patiently` does.
    """
    tries = 0

    def attempt() -> T:
        nonlocal tries
        tries += 1
        found = find() if tries > 1 else None
        return make() if found is None else found

    return patiently(attempt)


def line(got: str, waited: float) -> str:
    """What to say of a server that stayed away."""
    return (
        f"Expected an answer from the MLflow tracking server {environment.shown()}, got {got} for {waited:.0f} s; "
        "start it, or raise CELLML_PATIENCE"
    )


def _got(error: Exception) -> str:
    status = next((found for one in _chain(error) if (found := _status(one)) is not None), None)
    return "no answer" if status is None else f"the status {status}"


def _status(error: BaseException) -> int | None:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code
    if isinstance(error, requests.exceptions.RetryError):
        found = re.search(r"too many (\d{3}) error responses", str(error))
        return int(found[1]) if found else None
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from: MLflow wraps those of requests."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

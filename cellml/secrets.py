"""Keeping passwords, keys and tokens out of what is printed, logged and stored."""

import os
import re
import traceback

MASK = "***"
_NAMES = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|ACCESS_KEY|API_KEY|CREDENTIALS?|PGPASS)", re.IGNORECASE)
_URL = re.compile(r"(?P<before>\b[a-z][a-z0-9+.\-]*://[^\s/?#@:]*:)(?P<password>[^\s/?#]*)@", re.IGNORECASE)
SHORTEST = 6  # characters: a shorter value is likely to be an ordinary word elsewhere in a text


def hidden(text: str) -> str:
    """A text without passwords in URLs, and without the values of environment variables that hold secrets.

    Example:
        >>> hidden("postgresql://lab:geheim@db:5432/optuna")
        'postgresql://lab:***@db:5432/optuna'
    """
    text = _URL.sub(rf"\g<before>{MASK}@", text)
    for value in _values():
        text = text.replace(value, MASK)
    return text


def traced(error: BaseException) -> str:
    """The traceback of an error, without secrets."""
    return hidden("".join(traceback.format_exception(error)))


def _values() -> list[str]:
    found = {value for name, value in os.environ.items() if _NAMES.search(name) and len(value) >= SHORTEST}
    return sorted(found, key=len, reverse=True)  # one may hold another

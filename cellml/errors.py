"""Exceptions for what a user can put right."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave: one line saying what was expected, what came, and what to do.

    The command line prints the message alone and exits with status 2.
    """


class Away(UserError):
    """A server did not answer for as long as the user is willing to wait: CELLML_PATIENCE."""


def near(name: object, known: Iterable[str]) -> str:
    """Names close to a misspelt one, as the end of an error message.

    Args:
        name: what the user wrote.
        known: what may stand there.

    Returns:
        "did you mean 'a' or 'b'?", or "known: a, b, c" when nothing is close.
    """
    known = sorted(map(str, known))
    beginning = [k for k in known if len(str(name)) > 2 and k.startswith(str(name))]
    close = sorted(beginning, key=len)[:3] or difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"known: {shown}"

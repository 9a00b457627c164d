"""Where an unfinished fit is kept: one file that appears whole or not at all, and is checked when it is read."""

import logging
import os
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

try:
    import fcntl
except ImportError:  # not on Windows: there nothing keeps two processes apart but that each writes a file of its own
    fcntl = None  # type: ignore[assignment]

State = dict[str, Any]  # tensors, numbers, texts, and lists and dictionaries of these

SHARE = 0.01  # of a fit's time that writing may take
_FILE, _LOCK = "state.pt", "lock"
_log = logging.getLogger(__name__)


class Checkpoint:
    """The state of one fit on disk; what cannot be written or read is said once, and the fit goes on without.

    Attributes:
        before: seconds that the fit had taken when the state that was loaded was written.
    """

    def __init__(self, folder: Path, every: float, of: Callable[[], str]) -> None:
        """`every` seconds at most a state is written, 0: each that is offered; `of` says what it is a state of."""
        self.path, self.before = folder / _FILE, 0.0
        self._every, self._of = every, of
        self._start = time.monotonic()
        self._next = self._start + every
        self._failed = False

    def load(self) -> State | None:
        """The state of this very fit, or None."""
        for left in self.path.parent.glob("*.part"):
            left.unlink(missing_ok=True)
        if not self.path.exists():
            return None
        try:
            with zipfile.ZipFile(self.path) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"{damaged} is not what was written")
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            of, seconds, state = found["of"], found["seconds"], found["state"]
        except Exception as error:  # whatever a damaged file raises
            self.refuse(error)
            return None
        if of != self.of:
            _log.info("the checkpoint %s is of another fit", self.path)
            return None
        self.before = seconds
        return state

    def offer(self, made: Callable[[], State]) -> None:
        """Write the state that `made` gives if it is time to."""
        begun = time.monotonic()
        if begun < self._next:
            return
        part = self.path.with_name(f"{uuid.uuid4().hex}.part")
        content = {"of": self.of, "seconds": self.before + begun - self._start, "state": made()}
        try:
            with open(part, "wb") as file:
                torch.save(content, file)
            os.replace(part, self.path)
        except (OSError, RuntimeError) as error:  # a full disk is either, see `torch.save`
            if not self._failed:
                _log.warning("no checkpoint could be written to %s, the fit goes on: %s", self.path, _line(error))
            self._failed = True
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        now = time.monotonic()
        self._next = now + max(self._every, (now - begun) / SHARE) if self._every else now

    def refuse(self, error: Exception) -> None:
        """Say that the state cannot be gone on from, and forget it."""
        _log.warning("the checkpoint %s cannot be read, the fit starts anew: %s", self.path, _line(error))
        self.before = 0.0
        self.remove()

    def remove(self) -> None:
        """Forget the state."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    @cached_property
    def of(self) -> str:
        """What the states are of; not asked for before one is there, or to be written."""
        return self._of()


@contextmanager
def opened(folder: Path | None, every: float | None, of: Callable[[], str]) -> Iterator[Checkpoint | None]:
    """A fit's checkpoint for a block; None where none is wanted, or another process has it, which does the same fit.

    Args:
        folder: where it is kept, of its own; it stays, for the caller to remove, once there is a state in it.
        every: see `Checkpoint`; None: no checkpoint.
        of: the same.
    """
    if folder is None or every is None:
        yield None
        return
    lock = _lock(folder)
    try:
        made = None if lock is None else Checkpoint(folder, every, of)
        yield made
    except FloatingPointError:  # a training that diverged would do so again
        if made is not None:
            made.remove()
        raise
    finally:
        if lock is not None:
            with suppress(OSError):
                (folder / _LOCK).unlink(missing_ok=True)
                folder.rmdir()  # unless something is in it
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """A descriptor to close, or None where another process has the folder or it cannot be written."""
    path = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        _log.warning("no checkpoint can be written to %s, the fit goes on: %s", folder, _line(error))
        return None
    if fcntl is None:
        return found
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and os.path.samestat(os.fstat(found), path.stat()):
            return found
    except BlockingIOError:
        pass
    except OSError:  # a file system without locks
        return found
    os.close(found)
    _log.info("another process keeps the checkpoint %s", folder)
    return None


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

"""What a run has logged and a tracking server has not got yet, on disk: it outlives the process.

A folder a run, `<cache>/spool/<run id>`: `entries`, a line of JSON each; `position`, the bytes of it that were
delivered, in a file that the process at work on it holds locked; `server`; and the folders of artifacts.
"""

import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path

from mlflow import MlflowClient

from cellml.data import cache
from cellml.tracking import entries
from cellml.tracking.entries import Entry

SPOOL = "spool"
DIGITS = 16


def spool() -> Path:
    """Where the journals lie."""
    return cache.folder(None) / SPOOL


class Journal:
    """The journal of a run, held by this process; an entry is one write, so that a signal cannot cut it.

    Attributes:
        folder: where it lies; artifacts are placed there, too.
        position: bytes that were delivered.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock
        self._entries = os.open(folder / "entries", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.position = int(os.pread(lock, DIGITS, 0) or 0)

    @classmethod
    def create(cls, run_id: str, server: str) -> "Journal":
        """Begin the journal of a run.

        Raises:
            OSError: the folder cannot be written, or another process holds it.
        """
        folder = spool() / run_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "server").write_text(server, encoding="utf-8")
        journal = cls(folder, _locked(folder))
        journal._mark(journal.position)
        return journal

    @classmethod
    def take(cls, folder: Path, server: str) -> "Journal | None":
        """The journal that an ended process left; None where it is held, or meant for another server."""
        try:
            if (folder / "server").read_text(encoding="utf-8") != server or not (folder / "entries").exists():
                return None
            lock = _locked(folder)
        except OSError:  # another process holds it, or has just delivered and removed it
            return None
        if (folder / "entries").exists():
            return cls(folder, lock)
        os.close(lock)
        return None

    @property
    def run_id(self) -> str:
        """Whose entries these are."""
        return self.folder.name

    @property
    def empty(self) -> bool:
        """Whether everything was delivered."""
        return os.fstat(self._entries).st_size <= self.position

    def append(self, entry: Entry) -> None:
        """Keep an entry.

        Raises:
            OSError: the disk is full; nothing is kept of it.
        """
        line = memoryview(json.dumps(entry).encode() + b"\n")
        before = os.fstat(self._entries).st_size
        try:
            while line:
                line = line[os.write(self._entries, line) :]
        except OSError:
            os.ftruncate(self._entries, before)
            raise

    def next(self) -> tuple[Entry, int] | None:
        """The oldest entry that is left, and the position behind it; a line cut off at the end is none."""
        size = os.fstat(self._entries).st_size - self.position
        line = os.pread(self._entries, min(size, 1 << 16), self.position)
        if b"\n" not in line:
            line = os.pread(self._entries, size, self.position)
        line, newline, _ = line.partition(b"\n")
        return (json.loads(line), self.position + len(line) + 1) if newline else None

    def deliver(self, client: MlflowClient, entry: Entry) -> None:
        """Write an entry into the tracking store."""
        entries.deliver(client, self.run_id, entry, self.folder)

    def delivered(self, entry: Entry, position: int) -> None:
        """Remember that an entry was delivered."""
        self._mark(position)
        if "artifacts" in entry:
            shutil.rmtree(self.folder / entry["artifacts"], ignore_errors=True)

    def place(self) -> Path:
        """A new folder for artifacts."""
        return Path(tempfile.mkdtemp(prefix="artifacts-", dir=self.folder))

    def close(self) -> None:
        """Let go of the journal; one whose entries were all delivered is removed."""
        if self.next() is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._entries)
        os.close(self._lock)

    def _mark(self, position: int) -> None:
        os.pwrite(self._lock, f"{position:0{DIGITS}d}".encode(), 0)  # in place: takes no space on a full disk
        self.position = position


def _locked(folder: Path) -> int:
    descriptor = os.open(folder / "position", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor

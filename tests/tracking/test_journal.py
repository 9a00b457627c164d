import errno
import json
import os
import subprocess
import sys

import pytest

from cellml.tracking.journal import Journal, spool


@pytest.fixture
def journal(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path))
    return Journal.create("r1", "http://lab")


def all_of(journal):
    found = []
    while (entry := journal.next()) is not None:
        found.append(entry[0])
        journal.delivered(*entry)
    return found


def test_entries_come_back_in_order_and_once(journal):
    given = [{"tags": {"é": "a\nb" * n}} for n in (0, 1, 100_000, 2)]
    for entry in given[:3]:
        journal.append(entry)
    assert all_of(journal) == given[:3]
    assert journal.empty
    journal.append(given[3])
    assert not journal.empty
    assert all_of(journal) == given[3:]
    journal.close()
    assert list(spool().iterdir()) == []


def test_the_next_process_goes_on_where_one_was_killed(tmp_path, monkeypatch):
    script = (
        "import os\nfrom cellml.tracking.journal import Journal\nj = Journal.create('r1', 'http://lab')\n"
        "for k in range(3):\n    j.append({'k': k})\nj.delivered(*j.next())\n"
        "os.write(j._entries, b'{\"k\": 3')\nos._exit(9)\n"
    )
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path))
    subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ})
    assert Journal.take(spool() / "r1", "http://another") is None
    journal = Journal.take(spool() / "r1", "http://lab")
    assert Journal.take(spool() / "r1", "http://lab") is None, "two hold it"
    assert all_of(journal) == [{"k": 1}, {"k": 2}]
    journal.close()
    assert list(spool().iterdir()) == []


def test_a_journal_that_is_held_or_gone_is_not_taken(journal):
    assert Journal.take(journal.folder, "http://lab") is None
    journal.close()
    assert Journal.take(journal.folder, "http://lab") is None


def test_what_is_left_stays_when_the_journal_is_closed(journal):
    journal.append({"k": 0})
    folder = journal.place()
    (folder / "a.txt").write_text("a")
    journal.append({"artifacts": folder.name})
    journal.delivered(*journal.next())
    journal.close()
    again = Journal.take(journal.folder, "http://lab")
    assert (folder / "a.txt").exists()
    assert all_of(again) == [{"artifacts": folder.name}]
    assert not folder.exists()
    again.close()


def test_a_full_disk_leaves_whole_entries(journal, monkeypatch):
    journal.append({"k": 0})
    write = os.write

    def full(descriptor, data):
        if len(data) < 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        journal.append({"long": "x" * 95})
    monkeypatch.undo()
    journal.append({"k": 1})
    lines = (journal.folder / "entries").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"k": 0}, {"k": 1}]
    assert all_of(journal) == [{"k": 0}, {"k": 1}]

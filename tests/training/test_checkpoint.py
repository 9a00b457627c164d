"""The file that a fit's state is kept in."""

import os
import resource
import time
from contextlib import contextmanager

import pytest
import torch

from cellml.training import checkpoint
from cellml.training.checkpoint import opened
from tests.training.test_resume import EACH, experiment, run, same

STATE = {"tensors": [torch.arange(6.0).reshape(2, 3).t()], "numbers": (1, 0.1, None, float("-inf")), "text": {"a": "b"}}


@pytest.fixture
def kept(tmp_path):
    with opened(tmp_path / "fit", 0, lambda: "this") as made:
        yield made


def test_a_state_comes_back_as_it_was(kept):
    kept.offer(lambda: STATE)
    found = kept.load()
    assert (found["numbers"], found["text"]) == (STATE["numbers"], STATE["text"])
    (tensor,) = found["tensors"]
    assert torch.equal(tensor, STATE["tensors"][0])
    assert tensor.stride() == STATE["tensors"][0].stride()
    assert sorted(os.listdir(kept.path.parent)) == ["lock", "state.pt"]


def test_nothing_but_tensors_numbers_and_texts_is_read(kept, caplog):
    torch.save({"of": "this", "seconds": 0.0, "state": {"run": os.system}}, kept.path)
    assert kept.load() is None
    assert "cannot be read, the fit starts anew: UnpicklingError" in caplog.text


def test_a_state_is_written_when_its_time_has_come(tmp_path, monkeypatch):
    now, written = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with opened(tmp_path, 30, lambda: "this") as kept:

        def made():
            now[0] += 1.0  # seconds that it takes
            written.append(now[0])
            return {}

        for now[0] in (110.0, 129.9, 130.0, 160.0, 230.9, 231.0, 400.0):
            kept.offer(made)
    assert written == [131.0, 232.0, 401.0]  # no more than a hundredth of the time


def test_the_time_of_earlier_processes_is_counted(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for start, wanted in [(0, 0), (1000, 50), (5000, 100)]:
        now[0] = start
        with opened(tmp_path, 0, lambda: "this") as kept:
            kept.load()
            assert kept.before == wanted
            now[0] += 50
            kept.offer(dict)


def test_a_state_of_something_else_is_left_alone(tmp_path):
    with opened(tmp_path, 0, lambda: "this") as kept:
        kept.offer(lambda: STATE)
    with opened(tmp_path, 0, lambda: "that") as other:
        assert other.load() is None
    with opened(tmp_path, 0, lambda: "this") as kept:
        assert kept.load() is not None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_state_is_left_with_a_word(kept, damage, caplog):
    kept.offer(lambda: {"tensor": torch.arange(1000.0)})
    content = bytearray(kept.path.read_bytes())
    place = content.find(torch.arange(1000.0).numpy().tobytes()) + 2000
    content[place] ^= 4
    damaged = {"cut": content[: len(content) // 2], "flipped": content, "empty": b"", "text": b"no state"}
    kept.path.write_bytes(damaged[damage])
    assert kept.load() is None
    (said,) = caplog.records
    assert "cannot be read, the fit starts anew" in said.getMessage()
    assert "\n" not in said.getMessage()


@contextmanager
def small_files():
    """No file may grow beyond 4 kB: writing more fails as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_is_said_once(kept, caplog):
    kept.offer(dict)
    with small_files():
        for _ in range(3):
            kept.offer(lambda: {"tensor": torch.zeros(100_000)})
    (said,) = caplog.records
    assert f"no checkpoint could be written to {kept.path}, the fit goes on" in said.getMessage()
    assert kept.load() == {}  # the one before
    assert sorted(os.listdir(kept.path.parent)) == ["lock", "state.pt"]


def test_a_full_disk_stops_no_training(tiny, tmp_path, caplog):
    own = experiment(**EACH | {"train.epochs": 2})
    _, whole = run(own, tiny)
    with small_files():
        _, found = run(own, tiny, tmp_path / "fit")
    assert [record.levelname for record in caplog.records if record.name.startswith("cellml")] == ["WARNING"]
    same(found, whole)


def test_a_place_that_cannot_be_made_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").touch()
    with opened(tmp_path / "file" / "fit", 0, lambda: "this") as kept:
        assert kept is None
    assert "no checkpoint can be written" in caplog.text


def test_no_folder_stays_without_a_state(tmp_path):
    with opened(tmp_path / "fit", 30, lambda: "this") as kept:
        kept.offer(dict)
    assert not (tmp_path / "fit").exists()


def test_a_training_that_diverged_leaves_no_state(tmp_path):
    def diverge():
        with opened(tmp_path / "fit", 0, lambda: "this") as kept:
            kept.offer(dict)
            raise FloatingPointError

    with pytest.raises(FloatingPointError):
        diverge()
    assert not (tmp_path / "fit").exists()


@pytest.mark.skipif(checkpoint.fcntl is None, reason="no locks on this system")
def test_one_fit_at_a_time(tmp_path):
    with opened(tmp_path / "fit", 0, lambda: "this") as kept:
        kept.offer(dict)
        with opened(tmp_path / "fit", 0, lambda: "this") as second:
            assert second is None
        assert kept.load() == {}
    with opened(tmp_path / "fit", 0, lambda: "this") as third:
        assert third.load() == {}

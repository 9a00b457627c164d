"""Device, precision and threads."""

import pytest
import torch

from cellml.errors import UserError
from cellml.training import device

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def test_auto_takes_the_best_there_is(monkeypatch):
    for there, expected in [((False, False), "cpu"), ((False, True), "mps"), ((True, True), "cuda")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there[0])
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there[1])
        assert device.pick("auto").type == expected
        assert device.pick("cpu").type == "cpu"


def test_a_missing_device_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"Expected a cuda device, found none here; set train\.device"):
        device.pick("cuda")
    with pytest.raises(UserError, match="got 'tpu'"):
        device.pick("tpu")


def test_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert device.precision("auto", CPU) == "32-true"
    assert device.precision("auto", CUDA) == "bf16-mixed"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert device.precision("auto", CUDA) == "16-mixed"
    assert [device.precision(n, CUDA) for n in ("32", "bf16", "16")] == ["32-true", "bf16-mixed", "16-mixed"]
    with pytest.raises(UserError, match="32 or bf16 on a CPU"):
        device.precision("16", CPU)


def test_threads_are_given_back_after_an_error():
    before = torch.get_num_threads()

    def fail():
        assert torch.get_num_threads() == before + 1
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), device.threads(before + 1):
        fail()
    assert torch.get_num_threads() == before
    with device.threads(None):
        assert torch.get_num_threads() == before

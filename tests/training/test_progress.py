"""What a bar shows, on a terminal and elsewhere."""

import io

import torch
from rich.console import Console

from cellml.training.progress import Bar


def shown(terminal, shown=True, epochs=3):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, color_system=None)
    with Bar("net[bold]", epochs, 2, shown, console) as bar:
        for epoch in range(1, epochs + 1):
            bar.step(torch.tensor(0.5))
            bar.step(torch.tensor(0.25))
            bar.epoch(epoch, {"train/loss": 0.125, "val/auroc": 0.75}, "auroc")
    return text.getvalue()


def test_a_terminal_sees_epoch_loss_and_metric():
    text = shown(True)
    assert "net[bold]" in text
    assert "epoch 1/3  loss 0.500" in text
    assert "epoch 3/3  loss 0.125  val auroc 0.750" in text


def test_a_log_gets_the_first_and_the_last_epoch_as_lines():
    lines = shown(False).splitlines()
    assert lines[0] == "net[bold]  epoch 1/3  loss 0.125  val auroc 0.750"
    assert lines[-1] == "net[bold]  epoch 3/3  loss 0.125  val auroc 0.750"
    assert len(lines) == 2


def test_hidden_prints_nothing():
    assert shown(True, shown=False) == shown(False, shown=False) == ""

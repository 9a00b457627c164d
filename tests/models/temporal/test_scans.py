import pytest
import torch
from torch import nn

from cellml.models.temporal import scans


@torch.no_grad()
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize(("layers", "length"), [(1, 1), (2, 6)])
def test_a_scan_is_torchs_own_bidirectional_network(kind, layers, length):
    net = kind(5, 4, layers, batch_first=True, bidirectional=True)
    x = torch.randn(3, length, 5)
    torch.testing.assert_close(scans.recurrent(net, x), net(x)[0], rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("reverse", [False, True])
def test_states_are_the_running_sums_of_a_cell_that_adds(reverse):
    inputs = torch.randn(2, 5, 3)
    found = scans.over(torch.add, torch.zeros(2, 3), inputs, reverse)
    expected = inputs.flip(1).cumsum(1).flip(1) if reverse else inputs.cumsum(1)
    torch.testing.assert_close(found, expected)

import numpy as np
import pytest
import torch

from cellml.models.temporal.parts import PARTS
from tests.models.temporal.helpers import clip, small


@pytest.mark.parametrize("name", list(PARTS))
def test_each_part_says_how_wide_it_is(name):
    part = PARTS[name](5, units=4, layers=2)
    assert part(torch.randn(2, 3, 5)).shape == (2, 3, part.width)


@torch.no_grad()
def test_a_convolution_sees_fifteen_frames_to_either_side_a_layer():
    part = PARTS["tcn"](1, units=4, layers=1)
    for parameter in part.parameters():
        parameter.fill_(0.1)  # so that no rectifier hides a frame
    x = torch.zeros(1, 41, 1)
    moved = x.clone()
    moved[0, 20] = 1
    changed = (part(moved) - part(x)).abs().amax(dim=2)[0] > 0
    assert changed.nonzero().flatten().tolist() == list(range(5, 36))


@torch.no_grad()
def test_a_residual_block_is_the_sum_that_it_says():
    """Against a direct sum over the three taps of the dilated convolution."""
    block = PARTS["tcn"](2, units=3, layers=1).blocks[1]  # dilation 2
    x = torch.randn(1, 3, 7)
    taps, bias = block.over.weight.numpy(), block.over.bias.numpy()
    wide = np.pad(x[0].numpy(), ((0, 0), (2, 2)))
    inner = np.stack([sum(taps[:, :, k] @ wide[:, t + 2 * k] for k in range(3)) + bias for t in range(7)], axis=1)
    out = block.out.weight.numpy()[:, :, 0] @ inner.clip(0) + block.out.bias.numpy()[:, None]
    np.testing.assert_allclose(block(x, None)[0].numpy(), x[0].numpy() + out, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_recurrence_keeps_single_precision_under_autocast():
    net = small("test_resnet+gru")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net.part(net.seen(clip(1, 3), None)).dtype == torch.float32

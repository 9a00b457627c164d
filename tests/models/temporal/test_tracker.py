import numpy as np
import pytest
import torch
from scipy.special import expit

from cellml.models.temporal.tracker import ConvGRU, Tracker, normalisation


@torch.no_grad()
def test_on_maps_of_one_pixel_the_cell_follows_its_equations():
    """3 x 3 convolutions of a single pixel see their middle tap alone; the rest in numpy, step by step."""
    cell = ConvGRU(3, 4)
    x = torch.randn(2, 5, 3, 1, 1)
    w, b = cell.of_input.weight[:, :, 1, 1].numpy(), cell.of_input.bias.numpy()
    gates, candidate = (conv.weight[:, :, 1, 1].numpy() for conv in (cell.gates, cell.candidate))
    h, states = np.zeros((2, 4)), []
    for one in x[:, :, :, 0, 0].numpy().transpose(1, 0, 2):
        z, r, n = np.split(one @ w.T + b, 3, axis=1)
        of_z, of_r = np.split(h @ gates.T, 2, axis=1)
        z, r = expit(z + of_z), expit(r + of_r)
        h = (1 - z) * h + z * np.tanh(n + (r * h) @ candidate.T)
        states.append(h)
    np.testing.assert_allclose(cell(x)[..., 0, 0].numpy(), np.stack(states, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (24, 3), (6, 1), (20, 2), (33, 3)])
def test_about_eight_channels_are_normalised_together(channels, groups):
    assert normalisation("group", channels).num_groups == groups
    assert not list(normalisation("none", channels).parameters())


@torch.no_grad()
def test_the_default_works_at_48_24_and_12_pixels_and_draws_96():
    net, shapes = Tracker(1, 6, 96).eval(), []
    for layer in net.layers:
        layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[2:])))
    said = net.run(torch.rand(1, 2, 1, 96, 96), draw=True)
    assert shapes == [(32, 48, 48), (64, 24, 24), (128, 12, 12)]
    assert [layer.out_channels for layer in net.encoder if hasattr(layer, "out_channels")] == [8, 16, 32]
    assert said.drawn.shape == (1, 2, 1, 96, 96)
    assert net.run(torch.rand(1, 2, 1, 96, 96)).drawn is None

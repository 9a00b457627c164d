import pytest
import torch

from cellml.models.invertible import layers


def made(name, channels=3):
    layer = {
        "squeeze": layers.Squeeze,
        "actnorm": lambda: layers.ActNorm(channels),
        "mix": lambda: layers.Mix(channels),
        "coupling": lambda: layers.Coupling(channels, 5),
    }[name]()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.eval()


@pytest.mark.parametrize("name", ["squeeze", "actnorm", "mix", "coupling"])
def test_back_and_forth_and_the_determinant_of_the_whole_jacobian(name):
    layer, x = made(name).double(), torch.randn(2, 3, 2, 4, dtype=torch.float64)
    y, found = layer.with_log_det(x)
    torch.testing.assert_close(y, layer(x))
    torch.testing.assert_close(layer.inverse(y), x)
    for k in range(2):
        jacobian = torch.autograd.functional.jacobian(layer, x[k : k + 1]).reshape(24, 24)
        assert float(found[k]) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-6)


def test_squeezing_keeps_the_four_pixels_of_a_square_together():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert layers.Squeeze()(x)[0, :, 0, 0].tolist() == [0, 1, 4, 5]


def test_the_first_training_batch_sets_the_scale_and_no_later_one():
    layer, x = layers.ActNorm(3), torch.randn(64, 3, 4, 4) * torch.tensor([1.0, 10, 0])[:, None, None] + 5
    assert torch.equal(layer.eval()(x), x)
    y = layer.train()(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(y.std((0, 2, 3)), torch.tensor([1.0, 1, 0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(layer(x + 1) - y, layer.log_scale.exp()[:, None, None].expand_as(y))
    again = layers.ActNorm(3)
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(again.train()(x + 1), layer(x + 1))


def test_couplings_start_as_the_identity():
    x = torch.randn(2, 5, 4, 4)
    assert torch.equal(layers.Coupling(5, 4)(x), x)

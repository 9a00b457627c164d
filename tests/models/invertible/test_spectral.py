import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cellml.models.invertible import spectral


def dense(weight, side):
    """The convolution as a matrix, column by column."""
    inputs = weight.shape[1]
    basis = torch.eye(inputs * side**2).reshape(-1, inputs, side, side)
    return F.conv2d(basis, weight, padding=weight.shape[-1] // 2).flatten(1).T.numpy()


def unit(outputs, side):
    u = torch.randn(1, outputs, side, side)
    return u / u.norm()


@pytest.mark.parametrize(("outputs", "inputs", "kernel"), [(4, 3, 3), (2, 5, 3), (5, 4, 1), (3, 3, 5)])
def test_the_norm_is_the_largest_singular_value_of_the_operator(outputs, inputs, kernel):
    weight = torch.randn(outputs, inputs, kernel, kernel)
    found, u = spectral.norm(weight, unit(outputs, 6), 500)
    exact = np.linalg.svd(dense(weight, 6), compute_uv=False)[0]
    assert float(found) == pytest.approx(exact, rel=1e-3)
    assert float(u.norm()) == pytest.approx(1, rel=1e-5)


def test_it_is_not_the_norm_of_the_reshaped_kernel():
    weight = torch.ones(1, 1, 3, 3)
    found, _ = spectral.norm(weight, unit(1, 32), 200)
    assert float(found) == pytest.approx(9, rel=0.02)  # of constant maps, but for the border
    assert float(torch.linalg.matrix_norm(weight.reshape(1, 9), 2)) == pytest.approx(3)


def test_its_gradient_is_that_of_the_singular_value():
    weight = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    found, _ = spectral.norm(weight, unit(2, 4).double(), 2000)
    (gradient,) = torch.autograd.grad(found, weight)
    step = 1e-5
    for index in [(0, 0, 0, 0), (1, 0, 2, 1), (0, 1, 1, 1)]:
        moved = weight.detach().clone()
        moved[index] += step
        sizes = [np.linalg.svd(_double(w), compute_uv=False)[0] for w in (moved, weight.detach())]
        assert float(gradient[index]) == pytest.approx((sizes[0] - sizes[1]) / step, rel=1e-3, abs=1e-3)


def _double(weight):
    basis = torch.eye(2 * 16, dtype=torch.float64).reshape(-1, 2, 4, 4)
    return F.conv2d(basis, weight, padding=1).flatten(1).T.numpy()


@pytest.mark.parametrize(("size", "held"), [(5.0, True), (0.01, False)])
def test_a_large_kernel_is_held_down_and_a_small_one_left_alone(size, held):
    layer = spectral.SpectralConv2d(3, 4, 3, side=6, coefficient=0.7)
    torch.nn.init.normal_(layer.weight, std=size)
    layer.settle()
    layer.eval()
    used = dense(layer.weight.detach() * layer.factor, 6)
    exact = np.linalg.svd(used, compute_uv=False)[0]
    assert exact == pytest.approx(0.7, rel=0.02) if held else float(layer.factor) == 1 and exact < 0.7
    assert layer.bound() == pytest.approx(exact, rel=0.02)


def test_training_steps_follow_the_norm_and_leaving_training_settles_it():
    layer = spectral.SpectralConv2d(3, 4, 3, side=6, coefficient=0.9).train()
    x = torch.randn(2, 3, 6, 6)
    before = layer.factor.clone()
    with torch.no_grad():
        layer.weight.mul_(20)
    for _ in range(20):
        layer(x)
    trained = layer(x).detach()
    assert torch.equal(layer.factor, before)
    layer.eval()
    torch.testing.assert_close(layer(x), trained, rtol=0.02, atol=0.02)
    assert float(layer.factor) < float(before) / 10
    settled = layer.factor.clone()
    layer.train().eval()
    assert torch.equal(layer.factor, settled)


def test_without_gradients_a_training_layer_stays_one_map():
    layer = spectral.SpectralConv2d(3, 4, 3, side=6, coefficient=0.9).train()
    x = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        assert torch.equal(layer(x), layer(x))

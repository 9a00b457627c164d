"""Every block against its paper's formula, in numpy and scipy."""

import numpy as np
import pytest
import scipy.signal
import scipy.special
import timm.layers
import torch

from cellml.errors import UserError
from cellml.models.attention import ATTENTION, VECTOR

sigmoid = scipy.special.expit


def drawn(name, channels=24, seed=0):
    """A block with random weights, so that nothing stands at zero, and what it takes."""
    torch.manual_seed(seed)
    block = ATTENTION[name](channels).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    shape = (3, channels) if ATTENTION.marked(name, VECTOR) else (3, channels, 5, 4)
    return block, torch.randn(*shape, dtype=torch.float64)


def values(block):
    return {key: value.detach().numpy() for key, value in block.state_dict().items()}


def mlp(w, prefix, v):
    hidden = np.maximum(v @ w[f"{prefix}.0.weight"].T + w[f"{prefix}.0.bias"], 0)
    return hidden @ w[f"{prefix}.2.weight"].T + w[f"{prefix}.2.bias"]


def se(w, x):
    return x * sigmoid(mlp(w, "gate", x.mean(axis=(2, 3))))[:, :, None, None]


def eca(w, x):
    kernel, means = w["gate.weight"][0, 0], x.mean(axis=(2, 3))
    gate = np.stack([np.correlate(row, kernel, mode="same") for row in means])
    return x * sigmoid(gate)[:, :, None, None]


def cbam(w, x):
    y = x * sigmoid(mlp(w, "channel", x.mean(axis=(2, 3))) + mlp(w, "channel", x.max(axis=(2, 3))))[:, :, None, None]
    kernel = w["spatial.weight"][0]
    padded = np.pad(np.stack([y.mean(axis=1), y.max(axis=1)], axis=1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    gate = np.stack([scipy.signal.correlate(image, kernel, mode="valid")[0] for image in padded])
    return y * sigmoid(gate)[:, None]


def non_local(w, x):
    """Eq. 1 with f = exp(theta' phi), one position after the other."""
    result = x.copy()
    project = {k: (w[f"{k}.weight"][:, :, 0, 0], w[f"{k}.bias"]) for k in ("theta", "phi", "g", "out")}
    for n in range(len(x)):
        positions = x[n].reshape(x.shape[1], -1).T
        theta, phi, g = (positions @ a.T + b for a, b in (project[k] for k in ("theta", "phi", "g")))
        for i, (row, column) in enumerate(np.ndindex(*x.shape[2:])):
            like = np.exp([theta[i] @ phi[j] for j in range(len(positions))])
            y = sum(f * value for f, value in zip(like, g, strict=True)) / like.sum()
            result[n, :, row, column] += project["out"][0] @ y + project["out"][1]
    return result


def se1d(w, x):
    return x * sigmoid(mlp(w, "gate", x))


FORMULAS = {"se": se, "eca": eca, "cbam": cbam, "non_local": non_local, "se1d": se1d}


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("channels", [24, 160])
def test_every_block_is_its_formula(name, channels):
    block, x = drawn(name, channels)
    x = x / 4 if name == "non_local" else x  # keeps exp(theta' phi) in range
    with torch.no_grad():
        found = block(x).numpy()
    assert found.shape == tuple(x.shape)
    np.testing.assert_allclose(found, FORMULAS[name](values(block), x.numpy()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ATTENTION)
def test_every_block_treats_images_alone_and_every_parameter_learns(name):
    block, x = drawn(name)
    torch.testing.assert_close(block(x)[1:2], block(x[1:2]))
    (block(x) ** 2).sum().backward()
    assert {key for key, p in block.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0} <= {"phi.bias"}


@pytest.mark.parametrize("channels", [8, 64, 128, 256, 512, 1024, 2048])
def test_kernel_of_eca_grows_with_the_channels_as_published(channels):
    assert ATTENTION["eca"](channels).gate.kernel_size == timm.layers.EcaModule(channels).conv.kernel_size


def test_published_sizes():
    assert ATTENTION["eca"](64).gate.kernel_size == (3,)  # section 4.1: k = 3 for C = 64 ... 5 for C = 256
    assert ATTENTION["eca"](256).gate.kernel_size == (5,)
    assert ATTENTION["se"](512).gate[0].weight.shape == (32, 512)  # r = 16
    assert ATTENTION["se"](24).gate[0].weight.shape == (8, 24)
    assert ATTENTION["non_local"](64).theta.weight.shape == (32, 64, 1, 1)


def test_non_local_starts_as_the_identity_and_can_leave_it():
    block = ATTENTION["non_local"](16)
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(block(x), x)
    (block(x) ** 2).sum().backward()
    assert block.out.weight.grad.abs().sum() > 0


def test_a_misspelt_block_has_near_names():
    with pytest.raises(UserError, match="Expected an attention block, got 'cbm': did you mean 'cbam'"):
        ATTENTION["cbm"]

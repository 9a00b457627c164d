import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal, norm

from cellml.models.invertible import heads


@pytest.fixture
def gaussian():
    head = heads.GaussianHead(4, 3, 0.0)
    torch.nn.init.normal_(head.weight)
    torch.nn.init.normal_(head.bias)
    return head.double()


def parts(z):
    """The pooled part of z in an orthonormal frame made by QR, and what is left, as numpy."""
    n, c, h, w = z.shape
    frame = np.linalg.qr(np.column_stack([np.ones(h * w), np.random.default_rng(0).normal(size=(h * w, h * w - 1))]))[0]
    frame[:, 0] *= np.sign(frame[0, 0])
    turned = z.numpy().reshape(n, c, h * w) @ frame
    return turned[:, :, 0], turned[:, :, 1:].reshape(n, -1)


def test_pooling_is_a_part_of_a_rotated_frame():
    z = torch.randn(5, 4, 3, 2, dtype=torch.float64)
    np.testing.assert_allclose(heads.pool(z).numpy(), parts(z)[0], atol=1e-12)


@torch.no_grad()
def test_the_density_is_the_mixture_and_the_logits_are_its_posterior(gaussian):
    z = torch.randn(5, 4, 3, 2, dtype=torch.float64)
    pooled, rest = parts(z)
    shares = softmax(gaussian.bias.numpy())
    each = np.stack(
        [
            np.log(s) + multivariate_normal(m).logpdf(pooled)
            for s, m in zip(shares, gaussian.weight.numpy(), strict=True)
        ]
    )
    joint = each + norm.logpdf(rest).sum(1)
    np.testing.assert_allclose(gaussian.log_density(z).numpy(), logsumexp(joint, axis=0), atol=1e-9)
    said = torch.softmax(gaussian(heads.pool(z)), dim=1).numpy()
    np.testing.assert_allclose(said, softmax(joint, axis=0).T, atol=1e-9)


@torch.no_grad()
def test_with_a_linear_head_the_density_is_standard_normal():
    z = torch.randn(5, 4, 3, 2, dtype=torch.float64)
    found = heads.LinearHead(4, 3, 0.0).log_density(z).numpy()
    np.testing.assert_allclose(found, norm.logpdf(z.flatten(1).numpy()).sum(1), atol=1e-9)

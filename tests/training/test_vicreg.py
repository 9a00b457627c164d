"""The loss against plain loops over the paper's formulas, and what it is for."""

import numpy as np
import torch

from cellml.training import vicreg


def slow(a, b):
    n, d = a.shape
    invariance = sum((a[i, j] - b[i, j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    variance = covariance = 0.0
    for z in (a, b):
        c = np.cov(z.T)  # divided by n - 1
        variance += sum(max(0.0, 1 - np.sqrt(c[j, j] + 1e-4)) for j in range(d)) / d
        covariance += sum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    return invariance, variance, covariance


def test_the_terms_are_the_papers():
    rng = np.random.default_rng(0)
    for scale in (0.1, 1.0, 3.0):
        a = rng.normal(size=(9, 5)) @ rng.normal(size=(5, 5)) * scale
        b = a + rng.normal(size=(9, 5)) * 0.3
        found = vicreg.terms(torch.from_numpy(a), torch.from_numpy(b))
        expected = slow(a, b)
        np.testing.assert_allclose([found.invariance, found.variance, found.covariance], expected, rtol=1e-9)
        np.testing.assert_allclose(found.loss, 25 * expected[0] + 25 * expected[1] + expected[2], rtol=1e-9)


def test_a_collapse_costs_what_the_variance_term_says():
    z = torch.zeros(8, 4)
    found = vicreg.terms(z, z)
    assert float(found.invariance) == float(found.covariance) == 0
    np.testing.assert_allclose(float(found.variance), 2 * (1 - 0.01), rtol=1e-6)


def test_descending_it_makes_dimensions_alive_and_unlike():
    torch.manual_seed(0)
    a = (torch.randn(64, 1) @ torch.randn(1, 6) * 0.1).requires_grad_()
    before = slow(a.detach().numpy(), a.detach().numpy())
    optimizer = torch.optim.Adam([a], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        vicreg.terms(a + 0.05 * torch.randn_like(a), a + 0.05 * torch.randn_like(a)).loss.backward()
        optimizer.step()
    correlation = np.corrcoef(a.detach().numpy().T)
    assert slow(a.detach().numpy(), a.detach().numpy())[1] < 0.1 * before[1]
    assert np.abs(correlation - np.eye(6)).max() < 0.3

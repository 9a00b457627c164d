import math

import pytest
import torch
from torch import nn

from cellml.models.invertible import series


@pytest.fixture
def branch():
    """A nonlinear contraction of six numbers: x -> 0.6 Q' tanh(Q x)."""
    torch.manual_seed(1)
    layer = nn.Linear(6, 6, bias=False)
    nn.init.orthogonal_(layer.weight)

    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return 0.6 * torch.tanh(self.layer(x)).flip(1)

    return Branch()


def exact(branch, x):
    """log |det(I + J)| of each row, from the whole Jacobian, differentiable."""
    rows = [torch.autograd.functional.jacobian(branch, row[None], create_graph=True)[0, :, 0] for row in x]
    return torch.stack([torch.linalg.slogdet(torch.eye(6) + j)[1] for j in rows])


def averaged(branch, x, terms, probes=4000):
    many = x.repeat_interleave(probes, dim=0)
    count, divisors = terms
    probe = series.probe_like(many, torch.Generator().manual_seed(0))
    return series.log_det(branch, many, count, divisors, probe)[1].reshape(len(x), probes)


def test_many_terms_give_the_exact_determinant(branch):
    x = torch.randn(3, 6)
    found = averaged(branch, x, series.truncated(30))
    error = found.detach().std(1) / math.sqrt(found.shape[1])
    assert (found.detach().mean(1) - exact(branch, x).detach()).abs().lt(4 * error + 1e-3).all()


def test_its_gradients_are_those_of_the_determinant(branch):
    x = torch.randn(2, 6)
    weights = list(branch.parameters())
    (expected,) = torch.autograd.grad(exact(branch, x).sum(), weights)
    found = averaged(branch, x.requires_grad_(), series.truncated(30), probes=20000).mean(1).sum()
    (got,) = torch.autograd.grad(found, weights, retain_graph=True)
    torch.testing.assert_close(got, expected, rtol=0.05, atol=0.02)
    still = x.detach().clone().requires_grad_()
    (wanted,) = torch.autograd.grad(exact(branch, still).sum(), still)
    (moved,) = torch.autograd.grad(found, x)
    torch.testing.assert_close(moved, wanted, rtol=0.05, atol=0.02)


def test_a_drawn_number_of_terms_is_without_bias(branch):
    """The expectation over draws, summed by hand, is the long series; two terms alone are not."""
    x = torch.randn(1, 6)
    probe = series.probe_like(x, torch.Generator().manual_seed(3))
    whole = float(series.log_det(branch, x, *series.truncated(40), probe)[1].detach())
    expected = 0.0
    for more in range(1, 30):
        terms = series.EXACT + more
        reached = torch.tensor([0.5 ** max(0, k - series.EXACT - 1) for k in range(terms + 1)])
        expected += 0.5**more * float(series.log_det(branch, x, terms, reached, probe)[1].detach())
    assert expected == pytest.approx(whole, abs=1e-4)
    assert abs(float(series.log_det(branch, x, *series.truncated(2), probe)[1].detach()) - whole) > 1e-2


def test_the_number_of_terms_is_geometric():
    generator = torch.Generator().manual_seed(0)
    draws = [series.drawn(generator) for _ in range(2000)]
    counts = torch.tensor([terms for terms, _ in draws]) - series.EXACT
    for k in range(1, 6):
        assert float((counts >= k).float().mean()) == pytest.approx(0.5 ** (k - 1), abs=0.04)
    terms, reached = max(draws, key=lambda draw: draw[0])
    assert len(reached) == terms + 1
    assert reached.tolist()[: series.EXACT + 4] == [1.0] * (series.EXACT + 2) + [0.5, 0.25]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(branch, context):
    x = torch.randn(2, 6)
    with context():
        moved, found = series.log_det(branch, x.clone(), *series.truncated(5), torch.ones(2, 6))
    assert not moved.requires_grad
    assert not found.requires_grad
    torch.testing.assert_close(moved, branch(x).detach())

import pytest
import torch

from cellml.errors import UserError
from cellml.models.invertible.residual import NoContraction, Residual


@pytest.fixture
def block():
    """One whose convolutions would expand without their factors."""
    made = Residual(4, 8, 8, 0.9)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(5)
    for part in made.branch[1::2]:
        part.settle()
    return made.eval()


@torch.no_grad()
def test_the_inverse_finds_where_it_came_from(block):
    x = torch.randn(3, 4, 8, 8) * torch.tensor([0.01, 1, 100])[:, None, None, None]
    back = block.inverse(block(x))
    assert ((back - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)).max() < 1e-5
    assert (block(x) - x).norm() / x.norm() > 0.01  # it does something


@torch.no_grad()
def test_the_branch_contracts(block):
    a, b = torch.randn(2, 50, 4, 8, 8)
    slopes = (block.branch(a) - block.branch(b)).flatten(1).norm(dim=1) / (a - b).flatten(1).norm(dim=1)
    assert slopes.max() < block.bound() <= 0.9**3 * 1.02


def test_the_inverse_keeps_nothing_of_its_steps(block):
    """No tensor is saved for a backward pass, and the result hangs on none."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        back = block.inverse(torch.randn(2, 4, 8, 8, requires_grad=True))
    assert not saved
    assert not back.requires_grad


def test_a_branch_that_does_not_contract_is_one_line(block):
    with torch.no_grad():
        block.branch[1].factor.mul_(50)
    with pytest.raises(NoContraction, match=r"still moves by .* after 200 steps of the inverse") as caught:
        block.inverse(torch.randn(2, 4, 8, 8))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UserError)


def test_in_evaluation_the_determinant_is_that_of_the_jacobian_and_repeatable():
    tiny = Residual(2, 3, 2, 0.9).eval()
    x = torch.randn(400, 2, 2, 2)[:1].repeat(400, 1, 1, 1)
    jacobian = torch.autograd.functional.jacobian(tiny, x[:1]).reshape(8, 8)
    y, found = tiny.with_log_det(x)
    torch.testing.assert_close(y, tiny(x))
    found = found.detach()
    error = float(found.std()) / 20
    assert float(found.mean()) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=4 * error + 1e-4)
    assert torch.equal(tiny.with_log_det(x)[1], found)
    assert not torch.equal(tiny.train().with_log_det(x)[1], found)

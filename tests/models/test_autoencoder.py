import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions, nn

from cellml.errors import UserError
from cellml.explain import hooks
from cellml.models import autoencoder, backbones
from cellml.models.autoencoder import Autoencoder

SMALL = {"widths": [4, 6], "latent": 5, "maps": False}


def make(size=16, channels=3, classes=3, **options):
    torch.manual_seed(0)
    return backbones.create(
        "autoencoder", channels=channels, num_classes=classes, size=size, options=SMALL | options
    ).eval()


@pytest.fixture
def linear(monkeypatch):
    """An autoencoder whose way back is z W + b, in double precision: all its expectations have closed forms."""
    net, (w, b) = make(size=4, channels=1, latent=2).double(), (torch.randn(2, 16).double(), torch.randn(16).double())
    net.noise.fill_(0.3)
    monkeypatch.setattr(net, "decode", lambda z: (z.flatten(1) @ w + b).reshape(-1, 1, 4, 4))
    return net, w, b


def test_the_divergence_is_that_of_gaussians():
    mean, log_variance = torch.randn(7, 4).double(), torch.randn(7, 4).double()
    q = distributions.Normal(mean, (log_variance / 2).exp())
    expected = distributions.kl_divergence(q, distributions.Normal(torch.zeros(4).double(), 1.0)).sum(1)
    torch.testing.assert_close(autoencoder.divergence(mean, log_variance), expected)


@pytest.mark.parametrize(("size", "channels", "side"), [(16, 3, 4), (17, 1, 5), (22, 5, 6)])
@pytest.mark.parametrize("maps", [True, False])
@torch.no_grad()
def test_any_size_and_number_of_channels_come_back_in_shape(size, channels, side, maps):
    net, x = make(size, channels, maps=maps), torch.randn(2, channels, size, size)
    z = net.encode(x)
    assert z.shape == ((2, 5, side, side) if maps else (2, 5, 1, 1))
    assert net.decode(z).shape == x.shape
    assert net.round_trip(x).shape == net.log_likelihood(x).shape == (2,)
    pooled = z.mean((2, 3)) * z.shape[-1]
    torch.testing.assert_close(net(x), nn.functional.linear(pooled, net.fc.weight, net.fc.bias))
    torch.testing.assert_close(backbones.embed(net, x), pooled)
    assert net.log_likelihood(x).isfinite().all()


def test_the_bound_is_the_closed_form_and_below_the_likelihood(linear, monkeypatch):
    """E|x - zW - b|^2 = |x - mW - b|^2 + tr(W' S W); the likelihood is N(x; b, W'W + v I), by scipy."""
    net, w, b = linear
    monkeypatch.setattr(autoencoder, "DRAWS", 4000)
    x = torch.randn(3, 1, 4, 4).double()
    with torch.no_grad():
        found = net.log_likelihood(x).numpy()
        mean, log_variance = net._latent(x)
    flat, spread = x.flatten(1), (w.square() * log_variance.exp().flatten(2)).sum((1, 2))
    squares = (flat - mean.flatten(1) @ w - b).square().sum(1) + spread
    expected = -(squares / 0.3 + 16 * np.log(2 * np.pi * 0.3)) / 2 - autoencoder.divergence(mean, log_variance)
    np.testing.assert_allclose(found, expected, rtol=0.02)
    exact = stats.multivariate_normal(b.numpy(), (w.T @ w).numpy() + 0.3 * np.eye(16)).logpdf(flat.numpy())
    assert (found < exact).all()


def test_the_terms_beside_the_class_are_the_negative_bound(monkeypatch):
    net, x = make(kl=2.0, reconstruction=0.5), torch.randn(4, 3, 16, 16)
    weights = torch.tensor([2.0, 0.0, 1.0, 1.0])
    drawn = torch.randn(4, 5, 1, 1)
    monkeypatch.setattr(torch, "randn_like", lambda _: drawn)
    logits, found = net.learn(x, torch.eye(3)[:1].expand(4, 3), weights)
    mean, log_variance = net._latent(x)
    z = mean + (log_variance / 2).exp() * drawn
    torch.testing.assert_close(logits, net.logits(z))
    left = (net.decode(z) - x).square().mean((2, 3))
    density = distributions.Normal(net.decode(z), left.mean(0).sqrt()[:, None, None]).log_prob(x).flatten(1).mean(1)
    kl = distributions.kl_divergence(distributions.Normal(mean, (log_variance / 2).exp()), distributions.Normal(0, 1))
    expected = ((-0.5 * density + 2 * kl.sum((1, 2, 3)) / (3 * 256)) * weights).mean()
    torch.testing.assert_close(found, expected)


class Beside(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.learn(x, None, torch.ones(len(x)).double())[1]


def test_gradients_are_those_of_finite_differences(monkeypatch):
    """The variance of what is left is held fixed, where it is the optimal one: that changes no gradient."""
    beside, x = Beside(make(size=8, channels=1, latent=3, maps=True).double()), torch.rand(2, 1, 8, 8).double()
    drawn = torch.randn(2, 3, 2, 2).double()
    monkeypatch.setattr(torch, "randn_like", lambda _: drawn)
    for name in ("net.posterior.bias", "net.start.bias", "net.stages.0.0.weight", "net.back.2.0.weight"):
        value = beside.get_parameter(name).detach().clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda v, name=name: torch.func.functional_call(beside, {name: v}, x), (value,))


def test_without_draws_it_has_a_norm_and_no_density():
    net, x = make(variational=False, reconstruction=0.0), torch.randn(4, 3, 16, 16)
    logits, beside = net.train().eval().learn(x, None, torch.ones(4))
    torch.testing.assert_close(logits, net(x))
    torch.testing.assert_close(beside, net.encode(x).square().sum((1, 2, 3)).mean() / 2 / (3 * 256))
    with pytest.raises(UserError, match=r"set model.options variational"):
        net.log_likelihood(x)


def test_it_learns_to_come_back_and_to_classify():
    """Discs at three places and brightnesses, in a few steps; unseen ones afterwards."""
    net = make(latent=8, widths=[8, 16]).train()
    grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))

    def discs(count):
        targets, centres = torch.randint(3, (count,)), 5 + 6 * torch.rand(count, 2)
        inside = ((grid - centres[:, :, None, None]).square().sum(1) < 12).float()
        return (inside * (0.6 + 0.4 * targets)[:, None, None])[:, None].repeat(1, 3, 1, 1) * 2 - 0.4, targets

    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(150):
        x, targets = discs(32)
        logits, beside = net.learn(x, None, torch.ones(32))
        optimizer.zero_grad()
        (nn.functional.cross_entropy(logits, targets) + beside).backward()
        optimizer.step()
    x, targets = discs(64)
    net.eval()
    with torch.no_grad():
        assert (net(x).argmax(1) == targets).float().mean() > 0.9
        assert net.round_trip(x).median() < 0.45
        outside = torch.randn(64, 3, 16, 16)
        assert net.log_likelihood(x).min() > net.log_likelihood(outside).max()


def test_it_has_maps_for_heatmaps():
    net = make()
    found = hooks.resolve(net, net, torch.randn(2, 3, 16, 16), layer=None, grid=4)
    assert isinstance(found, hooks.Target)
    assert found.name.startswith("stages.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"widths": [0]}, "expected widths"),
        ({"latent": 0}, "expected latent"),
        ({"kl": -1.0}, "expected kl"),
        ({"reconstruction": float("inf")}, "expected reconstruction"),
        ({"depth": 3}, "does not take model.options"),
    ],
)
def test_what_it_does_not_take_is_one_line(options, said):
    with pytest.raises(UserError, match=said) as caught:
        make(**options)
    assert "\n" not in str(caught.value)


def test_it_is_a_backbone():
    assert isinstance(make(), Autoencoder)

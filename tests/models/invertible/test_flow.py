"""The whole networks, as backbones: back and forth, densities, boundaries, files."""

import pytest
import torch

from cellml.errors import UserError
from cellml.explain import hooks
from cellml.models import backbones, classifier
from cellml.models.invertible.residual import NoContraction, Residual

SMALL = {
    "iresnet": {"blocks": [2, 2], "widths": [8, 12]},
    "coupling": {"steps": [2, 2], "widths": [8, 12]},
}
NAMES = sorted(SMALL)


def make(name, size=16, channels=3, train=True, **options):
    """A small network, moved away from where it starts by steps on noise."""
    net = backbones.create(name, channels=channels, num_classes=3, size=size, options=SMALL[name] | options)
    if train:
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(8):
            x = torch.randn(8, channels, size, size)
            logits, beside = net.learn(x, torch.eye(3)[torch.arange(8) % 3], torch.ones(8))
            optimizer.zero_grad()
            (torch.nn.functional.cross_entropy(logits, torch.arange(8) % 3) + beside).backward()
            optimizer.step()
    return net.eval()


@pytest.mark.parametrize("head", ["linear", "gaussian"])
@pytest.mark.parametrize("size", [16, 18])
@pytest.mark.parametrize("name", NAMES)
def test_back_and_forth(name, size, head):
    """18 is filled up to 20."""
    net, x = make(name, size, head=head), torch.randn(4, 3, size, size) * 3
    z = net.encode(x)
    assert z.shape == (4, 48, (size + 3) // 4, (size + 3) // 4)
    assert net.decode(z).shape == x.shape
    assert net.round_trip(x).max() < 1e-4
    torch.testing.assert_close(net(x), net.logits(z))
    ((_, layer),) = backbones.last_layers(net)
    assert layer is net.get_classifier()
    torch.testing.assert_close(layer(backbones.embed(net, x)), net(x))


@pytest.mark.parametrize("head", ["linear", "gaussian"])
@pytest.mark.parametrize("name", NAMES)
def test_an_embedding_moved_to_the_boundary_is_an_image_on_it(name, head):
    """Logits are linear in z: z' = z - m w / |w|^2 has margin 0, and so has the image that it decodes to."""
    net, x = make(name, head=head), torch.randn(4, 3, 16, 16)
    z = net.encode(x).detach().requires_grad_()
    margin = net.logits(z)[:, 0] - net.logits(z)[:, 1]
    (w,) = torch.autograd.grad(margin.sum(), z)
    on = z - (margin / w.flatten(1).square().sum(1))[:, None, None, None] * w
    logits = net(net.decode(on))
    assert margin.abs().max() > 0.01
    torch.testing.assert_close(logits[:, 0], logits[:, 1], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "head"), [("coupling", "linear"), ("coupling", "gaussian"), ("iresnet", "linear")])
def test_the_likelihood_counts_the_whole_jacobian(name, head):
    net = make(name, 4, channels=1, head=head, likelihood=0.1)
    x = torch.randn(1, 1, 4, 4)
    jacobian = torch.autograd.functional.jacobian(net.encode, x).reshape(16, 16)
    with torch.no_grad():
        expected = float(net.fc.log_density(net.encode(x)) + torch.linalg.slogdet(jacobian)[1])
        found = net.log_likelihood(x.repeat(3000, 1, 1, 1))
    error = float(found.std()) / 3000**0.5
    assert float(found.mean()) == pytest.approx(expected, abs=4 * error + 2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_training_on_likelihood_makes_the_images_likelier(name):
    """Of images with two grey values and a little noise a density should say more than a Gaussian does."""
    torch.manual_seed(0)
    data = (torch.rand(64, 1, 8, 8) > 0.5).float().repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :8, :8]
    data = 2 * data - 1 + 0.1 * torch.randn_like(data)
    net = make(name, 8, channels=1, train=False, likelihood=1.0).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    net.learn(data, torch.eye(3)[torch.zeros(64, dtype=torch.long)], torch.ones(64))  # the scales of the first batch
    net.eval()
    before = float(net.log_likelihood(data).mean().detach()) / 64
    net.train()
    for _ in range(40):
        optimizer.zero_grad()
        net.learn(data, torch.eye(3)[torch.zeros(64, dtype=torch.long)], torch.ones(64))[1].backward()
        optimizer.step()
    net.eval()
    assert float(net.log_likelihood(data).mean()) / 64 > before + 0.2
    assert net.round_trip(data).max() < 1e-3


def test_the_extra_loss_weights_the_images_and_scales_with_its_weight():
    x, targets, weights = torch.randn(2, 3, 16, 16), torch.eye(3)[:2], torch.tensor([2.0, 0.0])
    net = make("coupling", likelihood=0.5)
    expected = -0.5 * net.log_likelihood(x[:1]) / x[0].numel()
    torch.testing.assert_close(net.loss(x, targets, weights), expected[0])
    plain = make("coupling")
    logits, beside = plain.learn(x, targets, weights)
    assert float(beside) == 0
    torch.testing.assert_close(logits, plain(x))


@pytest.mark.parametrize("name", NAMES)
def test_files_hold_what_was_trained(name, make_spec, tmp_path, make_images):
    spec = make_spec(name, size=16, crop=16, options=SMALL[name])
    model = classifier.Classifier(spec, make(name))
    classifier.save(model, tmp_path)
    again, images = classifier.load(tmp_path), make_images(2, 20, 20)
    assert torch.equal(again(images), model(images))
    wider = classifier.build(make_spec(name, size=24, crop=24, options=SMALL[name]), model.net.state_dict())
    assert torch.equal(wider.net.fc.weight, model.net.fc.weight)


def test_weights_that_were_changed_are_refused_after_loading():
    net = make("iresnet")
    state = net.state_dict()
    state["stages.1.2.branch.3.weight"] = state["stages.1.2.branch.3.weight"] * 10
    with pytest.raises(NoContraction, match=r"stages\.1\.2 has a branch of norm .* after loading") as caught:
        make("iresnet", train=False).load_state_dict(state)
    assert "\n" not in str(caught.value)


def test_changed_weights_contract_again_once_settled():
    net = make("iresnet")
    with torch.no_grad():
        for block in net.modules():
            if isinstance(block, Residual):
                block.branch[3].weight.mul_(10)
    net.settle()
    assert net.round_trip(torch.randn(2, 3, 16, 16)).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_heatmaps_read_the_stages(name):
    net, dummy = make(name), torch.randn(2, 3, 16, 16)
    found = hooks.resolve(net, net, dummy, layer=None, grid=8)
    assert isinstance(found, hooks.Target)
    assert found.name == "stages.0"


def test_decay_leaves_the_mixing_matrices_alone():
    net = make("coupling", train=False)
    exempt = net.no_weight_decay()
    assert exempt == {f"stages.{s}.{k}.weight" for s in (0, 1) for k in (2, 5)}
    assert exempt < set(dict(net.named_parameters()))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("iresnet", {"coefficient": 1.0}, "expected coefficient above 0 and below 1, got 1.0"),
        ("iresnet", {"blocks": [2]}, r"expected as many widths as stages, got \[2\] and \[8, 12\]"),
        ("iresnet", {"blocks": [2, 0]}, "expected blocks or steps as whole numbers of at least 1"),
        ("coupling", {"widths": 8}, "expected widths as whole numbers of at least 1"),
        ("coupling", {"head": "round"}, "expected head linear or gaussian, got 'round'"),
        ("coupling", {"likelihood": -1}, "expected likelihood 0 or above, got -1"),
        ("coupling", {"block": [2, 2]}, "does not take model.options"),
    ],
)
def test_what_they_do_not_take_is_one_line(name, options, said):
    with pytest.raises(UserError, match=said) as caught:
        make(name, train=False, **options)
    assert "\n" not in str(caught.value)

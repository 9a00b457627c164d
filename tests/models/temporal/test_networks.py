"""The conformance suite of sequence models, and where their weights come from."""

import pytest
import torch

from cellml.errors import UserError
from cellml.models import backbones
from cellml.models.temporal import networks
from cellml.models.temporal.base import SequenceNet
from tests.models.temporal.helpers import NAMES, TRACKER, clip, small


@pytest.fixture(params=NAMES)
def net(request) -> SequenceNet:
    return small(request.param)


@torch.no_grad()
def test_each_frame_of_any_number_has_logits(net):
    for count, length in ((1, 1), (3, 7)):
        assert net(clip(count, length)).shape == (count, length, 3)
    assert net.num_classes == 3


@torch.no_grad()
def test_what_stands_in_the_padding_changes_nothing(net):
    """Padded sequences give what each of them gives alone, in whatever the padding holds."""
    lengths = torch.tensor([2, 5, 3])
    frames = clip(3, 5)
    frames[0, 2:], frames[2, 3:] = 1e3, torch.randn(2, 2, 32, 32)
    together = net(frames, lengths)
    for one, length, alone in zip(frames, lengths, together, strict=True):
        torch.testing.assert_close(alone[:length], net(one[None, :length])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing_in_training_mode_either(name):
    """Batch statistics and gradients are those of the real frames."""
    found = []
    for filling in (0.0, 50.0):
        net = small(name).train()
        frames = clip(2, 4)
        frames[0, 1:] = filling
        logits = net(frames, torch.tensor([1, 4]))
        (logits[0, :1].square().sum() + logits[1].square().sum()).backward()
        found.append([p.grad for p in net.parameters() if p.grad is not None])
    assert found[0]
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_every_parameter_that_predicts_learns(net):
    said = net.train().run(clip(2, 4), draw=net.draws)
    value = said.logits.square().sum() + (said.drawn.square().sum() if said.drawn is not None else 0)
    value.backward()
    slopes = {key: p.grad is not None and float(p.grad.abs().sum()) for key, p in net.named_parameters()}
    branches = {key for key in slopes if key.startswith("images.layer")}  # timm starts them at zero
    assert not [key for key, slope in slopes.items() if slope is False or (not slope and key not in branches)]


@torch.no_grad()
def test_a_causal_network_carries_its_state_and_looks_back_alone(net):
    frames = clip(2, 6)
    whole = net(frames)
    if not net.causal:
        assert net.run(frames).state == ()
        return
    first = net.run(frames[:, :2])
    rest = net.run(frames[:, 2:], state=first.state)
    torch.testing.assert_close(torch.cat([first.logits, rest.logits], dim=1), whole, rtol=1e-4, atol=1e-5)
    other = frames.clone()
    other[:, 3:] = 0
    torch.testing.assert_close(net(other)[:, :3], whole[:, :3], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(net(other)[:, 3:], whole[:, 3:])


@torch.no_grad()
@pytest.mark.parametrize(("name", "reach"), [("test_resnet", 0), ("test_resnet+gru", 3), ("test_resnet+tcn", 3)])
def test_a_temporal_part_lets_frames_see_their_neighbours(name, reach):
    net, frames = small(name), clip(1, 7)
    other = frames.clone()
    other[:, 3] = 0
    moved = (net(other) - net(frames)).abs().amax(dim=2)[0] > 1e-7
    assert moved.nonzero().flatten().tolist() == list(range(3 - reach, 4 + reach))


@torch.no_grad()
def test_a_backbone_alone_gives_what_it_gives_of_images():
    net, frames = small("test_resnet"), clip(2, 3)
    assert torch.equal(net(frames).flatten(0, 1), net.images(frames.flatten(0, 1)))


@torch.no_grad()
def test_the_temporal_part_reads_what_the_last_layer_would():
    image = small("test_resnet").images
    net = small("test_resnet+gru", weights=image.state_dict())
    frames = clip(2, 3)
    expected = backbones.embed(image, frames.flatten(0, 1))
    torch.testing.assert_close(net.seen(frames, None).flatten(0, 1), expected)


def test_starting_weights_come_from_image_and_sequence_models(tmp_path):
    from safetensors.torch import save_file

    image, source = small("test_resnet", classes=5).images, small("test_resnet+gru", classes=3)
    with torch.no_grad():
        for p in (*image.parameters(), *source.parameters()):
            p.mul_(1.5)
    key = "stem.conv1.weight" if "stem.conv1.weight" in image.state_dict() else next(iter(image.state_dict()))
    for part in ("test_resnet", "test_resnet+tcn"):
        taken = small(part, weights=image.state_dict()).images.state_dict()
        assert torch.equal(taken[key], image.state_dict()[key])
    again = small("test_resnet+gru", weights=source.state_dict())
    assert all(torch.equal(again.state_dict()[k], v) for k, v in source.state_dict().items())
    other = small("test_resnet+gru", weights=source.state_dict(), classes=4)  # the last layer stays fresh
    assert torch.equal(other.part.net.weight_hh_l0, source.part.net.weight_hh_l0)
    first = small("tracker")
    with torch.no_grad():
        first.head[-1].weight.fill_(0.25)
    save_file(first.state_dict(), tmp_path / "tracker.safetensors")
    second = small("tracker", weights=str(tmp_path / "tracker.safetensors"))
    assert torch.equal(second.head[-1].weight, first.head[-1].weight)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("tracker", {"weights": "pretrained"}, "model.weights none, .* got pretrained"),
        ("tracker", {"weights": {"other": torch.zeros(1)}}, "hold no tensor of this model"),
        ("tracker", {"size": 30}, "input.size a multiple of 8"),
        ("tracker", {"attention": "se@1"}, "model.attention none for 'tracker'"),
        ("test_resnet+gru", {"attention": "se1d@pool"}, "no attention at pool"),
        ("mitosis_cnn+gru", {"weights": "pretrained"}, "no pretrained weights"),
    ],
)
def test_what_does_not_go_together_is_one_line(name, options, said):
    with pytest.raises(UserError, match=said) as caught:
        small(name, **options)
    assert "\n" not in str(caught.value)


def test_a_spec_keeps_those_sizes_alone_that_the_model_has():
    assert networks.sizes_of("resnet18", 4, 2, TRACKER) == {}
    assert networks.sizes_of("resnet18+gru", 4, 2, TRACKER) == {"units": 4, "layers": 2}
    assert networks.sizes_of("tracker", 4, 2, TRACKER | {"classification": 1}) == {"units": 4, "tracker": TRACKER}

import pytest
import torch

from cellml.errors import UserError
from cellml.explain import hooks
from cellml.models import backbones


def make(**options):
    return backbones.create("mitosis_cnn", channels=3, num_classes=5, size=64, **options)


def test_the_layers_are_as_many_as_the_study_says():
    """Five 5 x 5 convolutions of 32, 64, 64, 64, 64 filters, dense 1000, softmax 5: parameters counted by hand."""
    convolutions = sum(25 * i * o + o for i, o in [(3, 32), (32, 64), (64, 64), (64, 64), (64, 64)])
    dense = (64 * 2 * 2) * 1000 + 1000 + 1000 * 5 + 5
    assert sum(p.numel() for p in make().parameters()) == convolutions + dense


@torch.no_grad()
def test_the_last_layer_is_found_and_what_it_sees():
    net = make(options={"units": 7}).eval()
    x = torch.randn(2, 3, 64, 64)
    ((_, layer),) = backbones.last_layers(net)
    seen = backbones.embed(net, x)
    assert seen.shape == (2, 7)
    torch.testing.assert_close(layer(seen), net(x))


def test_it_takes_attention_and_gives_maps_for_heatmaps():
    net = make(attention="se@3").eval()
    assert "se_3" in net.attention
    found = hooks.resolve(net, net, torch.randn(2, 3, 64, 64), layer=None, grid=8)
    assert isinstance(found, hooks.Target)
    assert found.name == "blocks.2"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"options": {"filterz": [3]}}, "does not take model.options"),
        ({"weights": "pretrained"}, "no pretrained weights"),
        ({"options": {"filters": [8] * 9}}, "cannot be built for 64 x 64|cannot take"),
    ],
)
def test_what_it_does_not_take_is_one_line(options, said):
    with pytest.raises(UserError, match=said) as caught:
        make(**options)
    assert "\n" not in str(caught.value)

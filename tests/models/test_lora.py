"""Low-rank updates: nothing at the start, W + (alpha / r) B A afterwards, a plain network when merged."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cellml.errors import UserError
from cellml.models import backbones, lora

FAMILIES = ["test_vit", "test_convnext", "test_resnet", "test_efficientnet", "swin_tiny_patch4_window7_224"]


def create(name, size=64):
    return backbones.create(name, channels=3, num_classes=3, size=size).eval()


def inserted(net, name="net", rank=4, alpha=6.0, **more):
    heads = [layer for _, layer in backbones.last_layers(net)]
    return lora.insert(name, net, rank=rank, alpha=alpha, but=heads, **more)


def shaken(net):
    for parameter in lora.parameters(net):
        nn.init.normal_(parameter, std=0.1)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_starts_as_the_network_and_merges_into_a_plain_one_that_computes_the_same(name):
    net, x = create(name), torch.randn(2, 3, 64, 64)
    original, modules = {k: v.clone() for k, v in net.state_dict().items()}, [type(m) for m in net.modules()]
    with torch.no_grad():
        before = net(x)
        chosen = inserted(net, name)
        assert torch.equal(net(x), before)
        shaken(net)
        updated = net(x)
        lora.merge(net)
        merged = net(x)
    assert not torch.equal(updated, before)
    assert torch.equal(merged, updated)
    assert [type(m) for m in net.modules()] == modules
    state = net.state_dict()
    assert set(state) == set(original)
    changed = {key.removesuffix(".weight") for key in state if not torch.equal(state[key], original[key])}
    assert changed == set(chosen)


def test_a_linear_layer_is_the_papers_formula():
    net = nn.Sequential(nn.Linear(5, 4))
    weight = net[0].weight.detach().clone().numpy()
    lora.insert("net", net, rank=2, alpha=3.0)
    shaken(net)
    a, b = (p.detach().numpy() for p in lora.parameters(net))
    assert (a.shape, b.shape) == ((2, 5), (4, 2))
    x = torch.randn(7, 5)
    expected = x.numpy() @ (weight + 3.0 / 2 * b @ a).T + net[0].bias.detach().numpy()
    np.testing.assert_allclose(net(x).detach().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2)])
def test_a_convolution_is_two_convolutions_more(kernel, stride):
    net = nn.Sequential(nn.Conv2d(6, 4, kernel, stride, padding=kernel // 2))
    plain = copy.deepcopy(net)
    lora.insert("net", net, rank=2, alpha=5.0)
    shaken(net)
    a, b = lora.parameters(net)
    x = torch.randn(2, 6, 9, 9)
    inner = functional.conv2d(x, a.reshape(2, 6, kernel, kernel), stride=stride, padding=kernel // 2)
    expected = plain(x) + 5.0 / 2 * functional.conv2d(inner, b.reshape(4, 2, 1, 1))
    torch.testing.assert_close(net(x), expected)


def test_without_targets_attention_and_mlp_where_there_are_any_else_all_convolutions():
    assert set(inserted(create("test_vit"))) == {
        f"blocks.{k}.{part}" for k in range(6) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    net = create("test_resnet")
    assert set(inserted(net)) == {k for k, m in create("test_resnet").named_modules() if isinstance(m, nn.Conv2d)}
    depthwise = {k for k, m in create("test_efficientnet").named_modules() if getattr(m, "groups", 1) > 1}
    assert depthwise
    assert not depthwise & set(inserted(create("test_efficientnet")))


@pytest.mark.parametrize(
    ("targets", "count"), [(["qkv"], 6), (["attn.*"], 12), (["blocks.0.*", "fc1"], 4 + 5), (["patch_embed.proj"], 1)]
)
def test_targets_are_names_or_their_ends(targets, count):
    assert len(inserted(create("test_vit"), targets=targets)) == count


def test_a_pattern_that_matches_nothing_is_one_line_with_layers_that_exist():
    with pytest.raises(
        UserError, match=r"'query' matches none of 'test_vit': it has .*qkv.* leave targets out"
    ) as error:
        inserted(create("test_vit"), "test_vit", targets=["qkv", "query"])
    assert "\n" not in str(error.value)


def test_a_copy_has_updates_of_its_own():
    net = nn.Sequential(nn.Linear(3, 3))
    lora.insert("net", net, rank=1, alpha=1.0)
    copied = copy.deepcopy(net)
    shaken(net)
    x = torch.randn(2, 3)
    assert not torch.allclose(net(x), copied(x))
    lora.merge(copied)
    assert torch.equal(copied[0].weight, net[0].parametrizations.weight.original)

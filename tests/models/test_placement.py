"""Every block in every small family: shapes, gradients, export, heatmaps, saving; and places that do not exist."""

import copy

import pytest
import safetensors.torch
import torch
from torch import nn

from cellml.errors import UserError
from cellml.explain.base import explain
from cellml.models import backbones, classifier, placement
from cellml.models.attention import ATTENTION, VECTOR
from tests.models.test_classifier import exported

FAMILIES = {  # with the module that gives stage 3
    "test_resnet": "layer3",
    "test_efficientnet": "blocks.3",
    "test_convnext": "stages.2",
    "test_mambaout": "stages.2",  # NHWC
    "test_byobnet": "stages.2",
    "test_maxvit": "stages.2",
}
EACH = [f"{name}@{'pool' if ATTENTION.marked(name, VECTOR) else 3}" for name in ATTENTION]
ALL = "+".join(f"{name}@{'pool' if ATTENTION.marked(name, VECTOR) else k % 4 + 1}" for k, name in enumerate(ATTENTION))


def create(name, attention="none", channels=3, size=64, **more):
    torch.manual_seed(5)
    return backbones.create(name, channels=channels, num_classes=3, size=size, attention=attention, **more)


def shaken(net):
    """Random weights in the blocks, so that none of them does nothing."""
    for parameter in net.attention.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


def trunk(net):
    return {key: value for key, value in net.state_dict().items() if not key.startswith("attention.")}


def assert_same(state, expected):
    assert set(state) == set(expected)
    assert all(torch.equal(value, expected[key]) for key, value in state.items())


def recorded(net, module, x):
    """The outputs of a module in a pass."""
    seen = []
    handle = net.get_submodule(module).register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        net(x)
    handle.remove()
    return seen


@pytest.mark.parametrize("text", EACH)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_changes_its_stage_alone_by_its_own_formula(family, text):
    plain, net = create(family, channels=2).eval(), shaken(create(family, text, channels=2)).eval()
    assert_same(trunk(net), plain.state_dict())  # the same seed, the same trunk
    x = torch.randn(2, 2, 64, 64)
    (block,) = net.attention.values()
    with torch.no_grad():
        if text.endswith("pool"):
            ((_, layer),) = backbones.last_layers(plain)
            expected = block(backbones.embed(plain, x))
            torch.testing.assert_close(backbones.embed(net, x), expected)
            torch.testing.assert_close(net(x), layer(expected))
        else:
            (before,), (after,) = recorded(plain, FAMILIES[family], x), recorded(net, FAMILIES[family], x)
            if family == "test_mambaout":
                before, after = before.permute(0, 3, 1, 2), after.permute(0, 3, 1, 2)
            torch.testing.assert_close(after, block(before))
            assert not torch.allclose(net(x), plain(x))


@pytest.mark.parametrize("text", EACH)
@pytest.mark.parametrize("family", ["test_resnet", "test_mambaout"])
def test_gradients_reach_the_block_and_the_trunk_from_the_first_step(family, text):
    net = create(family, text)
    net(torch.randn(4, 3, 64, 64)).square().sum().backward()
    reached = {key for key, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert next(key for key, _ in net.named_parameters()) in reached
    assert any(key.startswith("attention.") for key in reached)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "test_maxvit"])
def test_all_blocks_export_explain_and_come_back(family, make_spec, make_images, tmp_path):
    model = classifier.build(make_spec(family, attention=ALL, tta="d4" if family == "test_resnet" else "none")).eval()
    shaken(model.net)
    assert list(model.net.attention) == [part.replace("@", "_") for part in ALL.split("+")]
    program = exported(model, make_images(2, 96, 112))
    for count, height, width in ((1, 128, 128), (4, 100, 90)):
        images = make_images(count, height, width, seed=count)
        with torch.no_grad():
            torch.testing.assert_close(program(images), model(images), rtol=0, atol=1e-5)
    classifier.save(model, tmp_path)
    again = classifier.load(tmp_path)
    assert again.spec == model.spec
    with torch.no_grad():
        assert torch.equal(again(images), model(images))
    maps = explain("gradcam", again, again.prepare(images), [0, 1, 2, 0])
    assert (maps.method, maps.fallback) == ("gradcam", None)
    plain = explain("gradcam", classifier.build(make_spec(family)), again.prepare(images), [0, 1, 2, 0])
    assert maps.layer == plain.layer


def test_non_local_blocks_leave_a_network_as_it_was():
    x = torch.randn(2, 3, 64, 64)
    for family in ("test_resnet", "test_mambaout"):
        with torch.no_grad():
            assert torch.equal(create(family, "non_local@2+non_local@4").eval()(x), create(family).eval()(x))


def test_grad_cam_reads_what_the_block_gives(make_spec):
    model = classifier.build(make_spec("test_resnet", attention="se@4")).eval()
    plain = classifier.build(make_spec("test_resnet"), weights=trunk(model.net)).eval()
    gate = model.net.attention["se_4"].gate
    with torch.no_grad():  # a gate that lets half of the channels through
        gate[2].weight.zero_()
        gate[2].bias.copy_(torch.where(torch.arange(96) < 48, 30.0, -30.0))
        plain.net.fc.weight[:, 48:] = 0
    images = torch.randint(0, 256, (2, 3, 64, 64)).float()
    found, wanted = (explain("gradcam", m, images, [0, 1], layer="layer4").maps for m in (model, plain))
    assert abs(wanted).max() > 0
    torch.testing.assert_close(torch.tensor(found), torch.tensor(wanted), rtol=1e-3, atol=1e-7)


def test_copies_have_blocks_of_their_own():
    net = create("test_resnet", "se@3+se1d@pool").eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, copied = net(x), copy.deepcopy(net)
        shaken(copied)
        assert torch.equal(net(x), before)
        assert not torch.allclose(copied(x), before)


def test_blocks_of_one_place_stand_in_the_order_written():
    x = torch.randn(2, 3, 64, 64)
    plain, net = create("test_resnet").eval(), shaken(create("test_resnet", "eca@3+cbam@3")).eval()
    with torch.no_grad():
        (before,), (after,) = recorded(plain, "layer3", x), recorded(net, "layer3", x)
        torch.testing.assert_close(after, net.attention["cbam_3"](net.attention["eca_3"](before)))


@pytest.mark.parametrize("family", ["test_resnet", "test_convnext"])
def test_weights_of_a_trunk_alone_and_of_one_with_blocks_load(family, tmp_path):
    source = shaken(create(family, "se@2+se1d@pool"))
    nn.init.normal_(next(source.parameters()))
    safetensors.torch.save_file(trunk(source), tmp_path / "trunk.safetensors")
    net = create(family, "se@2+se1d@pool", weights=str(tmp_path / "trunk.safetensors"))
    assert_same(trunk(net), trunk(source))
    assert_same(net.attention.state_dict(), create(family, "se@2+se1d@pool").attention.state_dict())
    net = create(family, "se@2+se1d@pool+eca@4", weights=source.state_dict())
    assert_same({k: v for k, v in net.state_dict().items() if "eca" not in k}, source.state_dict())
    for text in ("none", "cbam@2", "se@2"):
        with pytest.raises(UserError, match="attention") as caught:
            create(family, text, weights=source.state_dict())
        assert "\n" not in str(caught.value)


def test_stages_are_those_that_feature_info_tells():
    for family in ("test_resnet", "test_mambaout", "densenet121", "legacy_xception", "mobilenetv2_100"):
        net = create(family, size=96)
        found = placement.stages(net, 3, 96)
        assert list(found) == [1, 2, 3, 4]
        wanted = [e["num_chs"] for e in net.feature_info if e["reduction"] >= 4]
        sides = [96 // e["reduction"] for e in net.feature_info if e["reduction"] >= 4]
        modules = {id(module): name for name, module in net.named_modules()}
        for stage, channels, side in zip(found.values(), wanted, sides, strict=True):
            (maps,) = recorded(net.eval(), modules[id(stage.module)], torch.randn(1, 3, 96, 96))
            assert stage.last == (family == "test_mambaout")
            assert maps.shape[3 if stage.last else 1] == stage.channels == channels
            assert abs(maps.shape[2] - side) <= 1  # a stem without padding
    assert not net.training


def test_a_stage_within_a_cell_is_what_comes_into_the_cell():
    net = create("legacy_xception", size=96)  # described: the first ReLU of block 12
    names = {id(module): name for name, module in net.named_modules()}
    assert [names[id(s.module)] for s in placement.stages(net, 3, 96).values()] == [
        "block1",
        "block2",
        "block11",
        "act4",
    ]


@pytest.mark.parametrize(
    ("family", "text", "match"),
    [
        ("test_resnet", "cbam@5", r"got 'cbam@5': 'test_resnet' has stages 1 \(32 channels\), .*4 \(96 .*, and pool"),
        ("test_vit", "se@1", "'test_vit' describes no stage of convolutional maps, it has pool alone"),
        ("torchvision/resnet18", "se@1", "'torchvision/resnet18' describes no stage .* it has pool alone"),
        ("levit_128s", "se1d@pool", "one last layer for se1d@pool .* 'levit_128s' averages 2"),
        ("test_resnet", "se@pool", "block 'se' on a stage: se@1, .* got 'se@pool'"),
        ("test_resnet", "se1d@2", "'se1d' on the pooled vector: se1d@pool, got 'se1d@2'"),
        ("test_resnet", "cbm@2", "Expected an attention block, got 'cbm': did you mean 'cbam'"),
    ],
)
def test_places_that_are_not_there_are_one_line(family, text, match):
    with pytest.raises(UserError, match=match) as caught:
        create(family, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["test_vit", "torchvision/resnet18", "torchvision/squeezenet1_0", "resnetv2_18"])
def test_the_pooled_vector_is_there_in_any_network_with_one_last_layer(family):
    x = torch.randn(2, 3, 64, 64)
    plain, net = create(family).eval(), shaken(create(family, "se1d@pool")).eval()
    with torch.no_grad():
        torch.testing.assert_close(backbones.embed(net, x), net.attention["se1d_pool"](backbones.embed(plain, x)))

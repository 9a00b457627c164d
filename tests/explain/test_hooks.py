import pytest
import torch

from cellml.explain import base, hooks, layouts
from cellml.vision import timm, torchvision
from tests.explain.helpers import noise


def vit(**options):
    return timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=3, **options)


def torchvision_vit():
    sizes = {"num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    net = torchvision.models.VisionTransformer(image_size=64, patch_size=8, num_classes=3, **sizes)
    torch.nn.init.normal_(net.heads.head.weight)
    return net


NETS = {
    "timm residual": (lambda: timm.create_model("test_resnet"), "layer2", "NCHW", 8, 0),
    "timm efficient": (lambda: timm.create_model("test_efficientnet"), "blocks.2", "NCHW", 8, 0),
    "timm channels last": (lambda: timm.create_model("test_mambaout"), "stages.1", "NHWC", 8, 0),
    "class token": (vit, "blocks.1.norm1", "NLC", 4, 1),
    "mean of the patches": (lambda: vit(global_pool="avg", class_token=False), "blocks.1", "NLC", 4, 0),
    "registers": (lambda: vit(reg_tokens=4), "blocks.1.norm1", "NLC", 4, 5),
    "distilled": (
        lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, depth=2),
        "blocks.1.norm1",
        "NLC",
        4,
        2,
    ),
    "class attention": (lambda: timm.create_model("cait_xxs24_224", img_size=64, depth=2), "blocks.1", "NLC", 4, 0),
    "torchvision residual": (lambda: torchvision.models.resnet18(weights=None), "layer2", "NCHW", 8, 0),
    "torchvision squeeze": (lambda: torchvision.models.squeezenet1_0(weights=None), "features.10", "NCHW", 7, 0),
    "torchvision channels last": (
        lambda: torchvision.models.SwinTransformer([4, 4], 16, [1, 1, 1], [2, 2, 2], [4, 4]),
        "features.3",
        "NHWC",
        8,
        0,
    ),
    "torchvision class token": (torchvision_vit, "encoder.layers.encoder_layer_1", "NLC", 8, 1),
}


@pytest.mark.parametrize("family", NETS)
def test_finds_the_deepest_module_that_serves(family):
    make, name, kind, side, prefix = NETS[family]
    net = make()
    images = noise() / 255
    with base.undisturbed(net):
        target = hooks.resolve(net, net, images, layer=None, grid=7)
    assert isinstance(target, hooks.Target), target
    assert (target.name, target.layout) == (name, layouts.Layout(side, side, kind, prefix))


@pytest.mark.parametrize("family", NETS)
def test_maps_lie_where_the_image_does(family):
    """A change in one corner of the image changes the maps most in that corner."""
    net = NETS[family][0]()
    images = noise(1) / 255
    changed = images.repeat(4, 1, 1, 1)
    corners = [(0, 0), (0, 48), (48, 0), (48, 48)]
    for image, (top, left) in zip(changed, corners, strict=True):
        image[:, top : top + 16, left : left + 16] += 0.5
    with base.undisturbed(net):
        target = hooks.resolve(net, net, images, layer=None, grid=7)
        with hooks.tapped(target.module) as taken:
            net(torch.cat([images, changed]))
    maps = target.to_maps(taken[0].detach())
    moved = (maps[1:] - maps[:1]).abs().sum(dim=3)
    half = moved.shape[1] // 2
    quarters = [moved[:, :half, :half], moved[:, :half, -half:], moved[:, -half:, :half], moved[:, -half:, -half:]]
    sums = torch.stack([q.sum(dim=(1, 2)) for q in quarters], dim=1)
    assert sums.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_the_finest_serves_where_none_is_fine_enough():
    net = timm.create_model("test_resnet")
    with base.undisturbed(net):
        target = hooks.resolve(net, net, noise(size=32) / 255, layer=None, grid=33)
        deepest = hooks.resolve(net, net, noise(size=32) / 255, layer=None, grid=1)
    assert (target.layout.height, target.layout.width) == (16, 16)
    assert (deepest.name, deepest.layout.height) == ("layer3", 2)


def test_rectangular_tokens():
    net = timm.create_model("vit_tiny_patch16_224", img_size=(32, 64), depth=1, num_classes=3)
    with base.undisturbed(net):
        target = hooks.resolve(net, net, noise(1, 32, width=64) / 255, layer=None, grid=1)
    assert target.layout == layouts.Layout(2, 4, "NLC", 1)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("layer7", "no such module"),
        ("fc", "gives 0 spatial outputs"),
        ("global_pool", "gives 0 spatial outputs"),
        ("layer2.0.act2", "image's positions is zero"),
    ],
)
def test_says_why_a_module_cannot_serve(layer, reason):
    net = timm.create_model("test_resnet")
    if layer.startswith("layer2"):
        torch.nn.init.zeros_(net.fc.weight)
    with base.undisturbed(net):
        found = hooks.resolve(net, net, noise() / 255, layer=layer, grid=7)
    assert isinstance(found, hooks.Unserved)
    assert reason in found.reason


def test_nothing_before_the_target_is_recorded():
    net = timm.create_model("test_resnet")
    with base.undisturbed(net), hooks.tapped(net.layer4) as taken, torch.enable_grad():
        out = net(noise() / 255)
    assert taken[0].is_leaf
    assert out.requires_grad
    assert not net.layer4._forward_hooks


def test_activations_that_are_not_finite_are_refused():
    net = timm.create_model("test_resnet")
    with torch.no_grad():
        net.layer4[0].conv1.weight.fill_(float("inf"))
        found = hooks.resolve(net, net, noise() / 255, layer="layer4", grid=1)
    assert "finite" in found.reason


@pytest.mark.parametrize(
    ("shape", "size", "wanted"),
    [
        ((1, 8, 5, 5), (40, 40), layouts.Layout(5, 5, "NCHW")),
        ((1, 5, 5, 8), (40, 40), layouts.Layout(5, 5, "NHWC")),
        ((1, 8, 4, 6), (64, 96), layouts.Layout(4, 6, "NCHW")),
        ((1, 4, 6, 8), (64, 96), layouts.Layout(4, 6, "NHWC")),
        ((1, 16, 3, 3), (80, 80), layouts.Layout(3, 3, "NCHW")),
        ((1, 25, 8), (40, 40), layouts.Layout(5, 5, "NLC")),
        ((1, 26, 8), (40, 40), layouts.Layout(5, 5, "NLC", 1)),
        ((1, 24, 8), (64, 96), layouts.Layout(4, 6, "NLC")),
        ((1, 23, 8), (64, 64), None),
        ((1, 2, 9, 8), (64, 64), None),
    ],
)
def test_layout_from_shape_alone(shape, size, wanted):
    assert layouts.find(torch.nn.Identity(), "", torch.zeros(shape), size) == wanted


def test_the_networks_own_description_decides_what_the_shape_leaves_open():
    net = torch.nn.Identity()
    output = torch.zeros(1, 8, 8, 8)
    assert layouts.find(net, "", output, (64, 64)).kind == "NCHW"
    net.output_fmt = "NHWC"
    assert layouts.find(net, "", output, (64, 64)).kind == "NHWC"

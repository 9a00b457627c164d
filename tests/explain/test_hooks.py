import pytest
import torch

from cellml.errors import UserError
from cellml.explain import base, hooks, layouts
from cellml.explain.base import explain
from cellml.vision import timm, torchvision
from tests.explain.helpers import built, noise, wrapped


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
        ("layer7", "no such module; did you mean 'layer"),
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


def resolved(net, size=64, **more):
    with base.undisturbed(net):
        return hooks.resolve(net, net, noise(size=size) / 255, **{"layer": None, "grid": 7, **more})


def test_tokens_kept_by_windows_are_put_back_where_timm_puts_them():
    net = timm.create_model("hiera_tiny_224", img_size=96, stages=(1, 2, 2, 1), num_classes=3)
    torch.nn.init.normal_(net.head.fc.weight)
    images = noise(size=96) / 255
    for block in net.stage_ends:
        with base.undisturbed(net), torch.no_grad():
            (wanted,) = net.forward_intermediates(images, indices=[block], coarse=False, intermediates_only=True)
            target = resolved(net, 96, layer=f"blocks.{block}", grid=1)
            with hooks.tapped(target.module) as taken:
                net(images)
        torch.testing.assert_close(target.to_maps(taken[0].detach()), wanted.permute(0, 2, 3, 1))


class Tokens(torch.nn.Module):
    """Patches of 8 x 8 pixels as a row of tokens in a given order, and what the head reads of them."""

    def __init__(self, order):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 8, stride=8)
        self.body = torch.nn.Identity()
        self.fc = torch.nn.Linear(6, 3)
        self.order = order

    def forward(self, x):
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        return self.fc(self.body(tokens[:, self.order]).mean(dim=1))


def test_tokens_in_another_order_than_the_images_are_refused():
    rows = torch.arange(64)
    windows = rows.reshape(2, 4, 2, 4).transpose(1, 2).flatten()
    interleaved = rows.reshape(4, 2, 4, 2).permute(1, 3, 0, 2).flatten()
    assert isinstance(resolved(Tokens(rows), layer="body"), hooks.Target)
    for order in (windows, interleaved, rows.flip(0), rows.reshape(8, 8).T.flatten()):
        found = resolved(Tokens(order), layer="body")
        assert isinstance(found, hooks.Unserved)
        assert "image's order" in found.reason


def test_of_several_outputs_the_one_of_whole_images():
    net = timm.create_model("tnt_s_legacy_patch16_224", img_size=64, depth=2, num_classes=3)
    target = resolved(net)
    assert (target.name, target.layout) == ("blocks.0", layouts.Layout(4, 4, "NLC", 1))


def test_a_described_stage_whose_output_leads_nowhere_gives_way_to_its_blocks():
    net = timm.create_model("efficientvim_m1", num_classes=3)
    assert "gradient at the image's positions is zero" in resolved(net, layer="stages.0").reason
    assert resolved(net).name == "stages.0.blocks.1"


def test_a_coarse_stage_comes_before_the_stem():
    target = resolved(timm.create_model("shvit_s1", num_classes=3))
    assert (target.name, target.layout.height) == ("stages.0", 4)


def test_few_images_pass_through_the_network():
    net = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=3)
    seen = []
    net.patch_embed.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    resolved(net)
    assert sum(seen) <= 5


class Picky(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3 * 16 * 16, 3)

    def forward(self, x):
        return self.fc(x.flatten(1))


def test_a_network_that_does_not_take_the_images_is_one_clear_line():
    with pytest.raises(UserError, match=r"takes images of shape \(3, 16, 24\), .* fails: .*mat1.*; explain") as caught:
        explain("gradcam", wrapped(Picky()), noise(2, 16, width=24), [0, 1])
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"takes images of shape"):
        explain("gradcam", built("swin_tiny_patch4_window7_224", options={"depths": (1, 1)}), noise(2, 50), [0, 1])


def test_a_misspelt_layer_is_one_clear_line():
    with pytest.raises(UserError, match=r"'layer' .*'layr3'.*did you mean 'layer3'") as caught:
        explain("gradcam", built("test_resnet"), noise(), [0, 1], layer="layr3")
    assert "\n" not in str(caught.value)

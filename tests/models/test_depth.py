"""Which parameters lie in the last stage, and which networks order their layers."""

import pytest

from cellml.errors import UserError
from cellml.models import backbones, depth


def create(name, **more):
    return backbones.create(name, channels=3, num_classes=2, size=64, **more)


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [
        ("test_resnet", ("layer4.", "fc.")),
        ("test_vit", ("blocks.5.", "norm.", "head.")),
        ("test_convnext", ("stages.3.", "head.")),
        ("densenet121", ("features.denseblock4.", "features.norm5.", "classifier.")),
        ("mobilenetv3_small_050", ("blocks.5.", "conv_head.", "classifier.")),
        ("efficientnet_b0", ("blocks.6.", "conv_head.", "bn2.", "classifier.")),
        ("regnety_002", ("s4.", "head.")),
        ("swin_tiny_patch4_window7_224", ("layers.3.", "norm.", "head.")),
        ("poolformer_s12", ("stages.3.", "head.")),  # it has no group_matcher
    ],
)
def test_the_last_stage_is_what_its_name_says(name, prefixes):
    net = create(name)
    assert depth.last_stage(name, net) == {key for key, _ in net.named_parameters() if key.startswith(prefixes)}


def test_attention_blocks_do_not_shift_the_stages():
    assert depth.last_stage("x", create("test_resnet", attention="se@1")) >= depth.last_stage(
        "x", create("test_resnet")
    )
    assert not any(k.startswith("layer3") for k in depth.last_stage("x", create("test_resnet", attention="se@1")))


def test_networks_without_stages_or_order_are_refused_in_one_line():
    net = create("torchvision/resnet18")
    with pytest.raises(UserError, match=r"last_stage, 'torchvision/resnet18' does not; set finetune, lora or head"):
        depth.last_stage("torchvision/resnet18", net)
    with pytest.raises(UserError, match=r"train\.layer_decay, 'torchvision/resnet18' does not; set layer_decay to 1"):
        depth.check_layers("torchvision/resnet18", net)
    depth.check_layers("test_vit", create("test_vit"))

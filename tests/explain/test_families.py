"""Grad-CAM on one small network of many families: native, on a map that lies as the image does, square and wide."""

import re

import numpy as np
import pytest
import torch

from cellml.explain.base import explain
from cellml.vision import timm
from tests.conftest import ROOT
from tests.explain import families
from tests.explain.helpers import built, fit_head, noise, planted

SHALLOW = {"depths": (1, 1, 1, 1)}
SHORT = {"depth": 2}
TOKENS8 = {"depth": 2, "patch_size": 8}
TOLD = "native, told its size"
# name: options, layer, layout, images half as wide again
NETS = {
    "test_byobnet": ({}, "stages.1", "NCHW 8 x 8", "native"),
    "test_coatnet": ({}, "stages.1", "NCHW 8 x 8", TOLD),
    "test_convnext": ({}, "stages.1", "NCHW 8 x 8", "native"),
    "test_convnext2": ({}, "stages.1", "NCHW 8 x 8", "native"),
    "test_convnext3": ({}, "stages.1", "NCHW 8 x 8", "native"),
    "test_efficientnet": ({}, "blocks.2", "NCHW 8 x 8", "native"),
    "test_efficientnet_evos": ({}, "blocks.2", "NCHW 8 x 8", "native"),
    "test_efficientnet_gn": ({}, "blocks.2", "NCHW 8 x 8", "native"),
    "test_efficientnet_ln": ({}, "blocks.2", "NCHW 8 x 8", "native"),
    "test_mambaout": ({}, "stages.1", "NHWC 8 x 8", "native"),
    "test_maxvit": ({}, "stages.1", "NCHW 8 x 8", TOLD),
    "test_nfnet": ({}, "stages.1", "NCHW 8 x 8", "native"),
    "test_resnet": ({}, "layer2", "NCHW 8 x 8", "native"),
    "test_vit": ({}, "blocks.5.norm1", "NLC 4 x 4 + 1", "native"),
    "test_vit2": ({}, "blocks.7", "NLC 4 x 4 + 1", "native"),
    "test_vit3": ({}, "blocks.8", "NLC 4 x 4 + 1", TOLD),
    "test_vit4": ({}, "blocks.8", "NLC 4 x 4 + 1", "native"),
    "test_vit_relpos": ({}, "blocks.8", "NLC 4 x 4", TOLD),
    "resnext50_32x4d": ({"layers": (1, 1, 1, 1)}, "layer2", "NCHW 8 x 8", "native"),
    "densenet121": ({"block_config": (2, 2, 2, 2)}, "features.denseblock2", "NCHW 8 x 8", "native"),
    "torchvision/squeezenet1_0": ({}, "features.10", "NCHW 7 x 7", "native"),
    "torchvision/googlenet": ({}, "inception3b", "NCHW 8 x 8", "native"),
    "resnet18": ({}, "layer2", "NCHW 8 x 8", "native"),
    "convnext_atto": (SHALLOW, "stages.1", "NCHW 8 x 8", "native"),
    "efficientnet_b0": ({}, "blocks.2", "NCHW 8 x 8", "native"),
    "mobilenetv3_small_050": ({}, "blocks.1", "NCHW 8 x 8", "native"),
    "regnety_002": ({}, "s2", "NCHW 8 x 8", "native"),
    "pit_ti_224": ({"depth": (1, 1, 1)}, "transformers.0", "NCHW 7 x 7", TOLD),
    "swin_tiny_patch4_window7_224": (SHALLOW, "layers.1", "NHWC 8 x 8", TOLD),
    "swinv2_tiny_window8_256": (SHALLOW, "layers.1", "NHWC 8 x 8", TOLD),
    "mambaout_femto": (SHALLOW, "stages.1", "NHWC 8 x 8", "native"),
    "vit_tiny_patch16_224": (SHORT | {"reg_tokens": 4}, "blocks.1.norm1", "NLC 4 x 4 + 5", TOLD),
    "deit_tiny_distilled_patch16_224": (SHORT, "blocks.1.norm1", "NLC 4 x 4 + 2", TOLD),
    "eva02_tiny_patch14_224": (TOKENS8, "blocks.1", "NLC 8 x 8 + 1", TOLD),
    "cait_xxs24_224": (TOKENS8, "blocks.1", "NLC 8 x 8", TOLD),
    "tnt_s_legacy_patch16_224": ({"depth": 3}, "blocks.1", "NLC 4 x 4 + 1", TOLD),
    "xcit_nano_12_p8_224": (SHORT, "blocks.1", "NLC 8 x 8", "native"),
    "hiera_tiny_224": ({"stages": (1, 1, 2, 1)}, "blocks.1", "NLC 8 x 8", TOLD),
    "levit_128s": ({}, "stages.0", "NLC 4 x 4", TOLD),
}


@pytest.mark.parametrize("name", NETS)
def test_reads_a_map_that_lies_as_the_image_does(name):
    options, layer, layout, wide = NETS[name]
    classifier = families.alive(built(name, options=options))
    found = families.look(classifier, noise())
    assert found == {"served": "native", "layer": layer, "layout": layout, "varies": True, "corners": 4}
    assert families.wide(classifier) == wide


def test_every_toy_of_timm_is_among_them():
    assert set(timm.list_models("test_*")) <= set(NETS)


def test_the_documentation_lists_every_family():
    text = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    if f"timm {timm.__version__} " not in text:
        pytest.skip("docs/families.md is about another timm; make it again with python -m tests.explain.families")
    listed = re.findall(r"^(?:\| |- )(\w+)", text, flags=re.MULTILINE)
    assert set(timm.list_modules()) <= set(listed)


# Random weights between the layer read and the head blur what decides: these are shallow, or keep their tokens apart.
DECIDED_BY_THE_PATCH = {
    "test_byobnet": {},
    "test_nfnet": {},
    "swin_tiny_patch4_window7_224": SHALLOW | {"embed_dim": 32, "num_heads": (1, 2, 4, 8)},
    "hiera_tiny_224": {"stages": (1, 1, 2, 1), "embed_dim": 32, "num_heads": 1},
    "test_vit": {"patch_size": 8, "depth": 1},
    "test_vit2": {"patch_size": 8},
    "test_vit4": {"patch_size": 8},
    "vit_tiny_patch16_224": {"patch_size": 8, "depth": 1, "reg_tokens": 4},
    "eva02_tiny_patch14_224": TOKENS8,
    "cait_xxs24_224": TOKENS8,
}
OCCLUDED = ("test_byobnet", "test_nfnet", "test_vit2")


@pytest.mark.parametrize(
    ("name", "method", "options"),
    [(name, "gradcam", {}) for name in DECIDED_BY_THE_PATCH]
    + [(name, "occlusion", {"patch": 0.25, "stride": 0.125}) for name in OCCLUDED],
)
def test_peaks_on_the_part_that_decides(name, method, options, capsys):
    """At least 9 of 10 peaks on a patch of 1/16 of the image; the middle of the image lies on it in 0.29 of them."""
    classifier = built(name, classes=2, options=DECIDED_BY_THE_PATCH[name])
    images, classes, _ = planted(256, 64, 16, seed=0)
    fit_head(classifier, images, classes)
    images, classes, masks = planted(14, 64, 16, seed=1)
    with torch.no_grad():
        assert (classifier.logits(images).argmax(dim=1).numpy() == classes).mean() >= 0.9
    result = explain(method, classifier, images, classes, **options)
    assert result.fallback is None
    flat = masks.reshape(len(masks), -1)
    hits = flat[np.arange(len(flat)), result.maps.reshape(len(flat), -1).argmax(axis=1)].mean()
    centre, chance = masks[:, 32, 32].mean(), masks.mean()
    with capsys.disabled():
        print(f"\n{method} on {name}: hits {hits:.2f}, always centre {centre:.2f}, random {chance:.2f}")
    assert hits >= 0.9
    assert max(centre, chance) < 0.3

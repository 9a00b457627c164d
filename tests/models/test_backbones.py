import socket
import urllib.error
import urllib.request

import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
from torch import nn

from cellml.errors import UserError
from cellml.models import backbones, hub
from cellml.vision import timm, torchvision

SMALL = [
    ("test_resnet", 64),
    ("test_vit", 48),
    ("test_vit_relpos", 64),
    ("test_convnext", 64),
    ("test_efficientnet", 64),
    ("test_maxvit", 64),
    ("test_mambaout", 64),
    ("test_nfnet", 64),
    ("test_byobnet", 64),
    ("mobilenetv3_small_050", 32),
    ("regnety_002", 64),
    ("repghostnet_050", 64),
    ("efficientvit_b0", 64),  # a head of several layers
    ("resnetv2_18", 32),  # a 1 x 1 convolution as last layer
    ("levit_128s", 64),  # two heads, averaged
    ("repvit_m0_9", 32),
    ("swin_s3_tiny_224", 64),
    ("torchvision/squeezenet1_0", 64),
    ("torchvision/resnet18", 64),
    ("torchvision/shufflenet_v2_x0_5", 64),
    ("torchvision/mobilenet_v3_small", 64),
    ("torchvision/efficientnet_b0", 64),
    ("torchvision/densenet121", 64),
    ("torchvision/googlenet", 64),
    ("torchvision/regnet_y_400mf", 64),
    ("torchvision/mnasnet0_5", 64),
]


def create(name, channels=3, num_classes=3, size=64, **more):
    return backbones.create(name, channels=channels, num_classes=num_classes, size=size, **more)


@pytest.mark.parametrize(("name", "size"), SMALL)
def test_families_give_logits_that_are_linear_in_their_embedding(name, size):
    net = create(name, channels=2, num_classes=5, size=size, dropout=0.1)
    assert net.training
    net.eval()
    images = torch.randn(2, 2, size, size)
    with torch.no_grad():
        logits, embedding = net(images), backbones.embed(net, images)
        layers = [layer for _, layer in backbones.last_layers(net)]
        parts = embedding.split([layer.weight[0].numel() for layer in layers], dim=1)
        again = torch.stack([p @ m.weight.flatten(1).T + m.bias for p, m in zip(parts, layers, strict=True)]).mean(0)
    assert logits.shape == (2, 5)
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-4)


def test_embedding_is_timms_own():
    net = create("test_convnext").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(images), pre_logits=True)
        torch.testing.assert_close(backbones.embed(net, images), expected)
    assert not any(module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize(("name", "kind"), [("test_resnet", "timm"), ("torchvision/resnet18", "torchvision")])
def test_dropout_stands_before_the_last_layer(name, kind):
    images = torch.randn(4, 3, 64, 64)
    nets = {p: create(name, dropout=p) for p in (0.0, 0.9)}
    for net in nets.values():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    with torch.no_grad():
        assert torch.equal(nets[0.0](images), nets[0.0](images))
        assert not torch.equal(nets[0.9](images), nets[0.9](images))


def test_squeezenet_head_is_the_original_one_without_its_last_relu():
    net = create("torchvision/squeezenet1_1", num_classes=4).eval()
    original = torchvision.models.squeezenet1_1(weights=None, num_classes=4).eval()
    original.features.load_state_dict(net.features.state_dict())
    last = backbones.last_layers(net)[0][1]
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        original.classifier[1].weight.copy_(last.weight[:, :, None, None])
        original.classifier[1].bias.copy_(last.bias)
        original.classifier[2] = nn.Identity()
        torch.testing.assert_close(net(images), original(images))


def test_same_seed_gives_the_same_weights():
    torch.manual_seed(3)
    first = create("test_vit", channels=4).state_dict()
    torch.manual_seed(3)
    second = create("test_vit", channels=4, probe=False).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_options_reach_the_family():
    assert isinstance(create("test_resnet", options={"act_layer": "silu"}).act1, nn.SiLU)
    dense = create("torchvision/densenet121", options={"bn_size": 2})
    assert dense.features.denseblock1.denselayer1.conv1.out_channels == 2 * 32
    assert create("test_vit", size=64, options={"patch_size": 8}).patch_embed.num_patches == 64


def test_families_that_must_know_their_size_are_told():
    assert create("test_vit", size=64).patch_embed.img_size == (64, 64)
    assert create("torchvision/vit_b_32", size=64).image_size == 64


@pytest.mark.parametrize(
    ("name", "more", "match"),
    [
        ("resnet19", {}, "Unknown backbone 'resnet19': did you mean .*'resnet18'"),
        ("torchvision/resnt18", {}, "did you mean 'torchvision/resnet18'"),
        ("resnet18.foo", {}, "Unknown pretrained tag .*'resnet18.tv_in1k'"),
        ("test_resnet", {"options": {"no_such": 1}}, "test_resnet.*no_such"),
        ("torchvision/resnet18", {"options": {"no_such": 1}}, "torchvision/resnet18.*no_such"),
        ("test_resnet", {"options": {"num_classes": 9}}, "cannot hold 'num_classes'"),
        ("efficientformer_l1", {}, "images of 64 x 64 pixels; it was designed for 224: set input.size"),
        ("torchvision/alexnet", {"size": 16}, "images of 16 x 16 pixels: set input.size"),
        ("torchvision/maxvit_t", {}, "64 x 64 pixels"),
        ("mambaout_femto.in1k", {"weights": "nowhere.pth"}, "found none at nowhere.pth"),
        ("test_resnet", {"weights": "imagenet"}, "none, pretrained, models:/NAME@ALIAS or a file .*'imagenet'"),
    ],
)
def test_mistakes_are_one_line_with_a_remedy(name, more, match):
    with pytest.raises(UserError, match=match) as caught:
        create(name, **more)
    assert "\n" not in str(caught.value)


def test_missing_connection_is_a_user_error_at_once(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(urllib.request, "urlopen", fail)
    monkeypatch.setattr("torch.hub.urlopen", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("test_resnet", "torchvision/shufflenet_v2_x0_5"):
        with pytest.raises(UserError, match=r"could not be downloaded .*local .safetensors, .npz or .pth file"):
            create(name, weights="pretrained")


def test_a_model_without_published_weights_says_so():
    name = next(n for n in timm.list_models() if not timm.models.get_pretrained_cfg(n).has_weights)
    with pytest.raises(UserError, match="has no pretrained weights"):
        create(name, weights="pretrained")


def test_pretrained_torchvision_weights_come_from_its_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source = torchvision.models.shufflenet_v2_x0_5(weights=None)
    url = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(source.state_dict(), tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    net = create("torchvision/shufflenet_v2_x0_5", weights="pretrained")
    assert torch.equal(net.conv1[0].weight, source.conv1[0].weight)
    assert net.fc.weight.shape == (3, 1024)


def test_pretrained_timm_weights_come_from_its_cache(monkeypatch, tmp_path):
    source = timm.create_model("test_resnet").state_dict()
    config = timm.models.get_pretrained_cfg("test_resnet")
    folder = tmp_path / ("models--" + config.hf_hub_id.replace("/", "--"))
    (folder / "snapshots" / "a").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a")
    safetensors.torch.save_file(source, folder / "snapshots" / "a" / "model.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    net = create("test_resnet", channels=1, weights="pretrained", attention="cbam@3")
    assert "cbam_3" in net.attention
    torch.testing.assert_close(net.conv1[0].weight, source["conv1.0.weight"].sum(1, keepdim=True))
    assert torch.equal(net.layer4[0].conv1.weight, source["layer4.0.conv1.weight"])


def test_normalisation_is_the_weights_own():
    assert backbones.normalisation("test_resnet", "none", 3) is None
    config = timm.create_model("vit_tiny_patch16_224").pretrained_cfg
    assert backbones.normalisation("vit_tiny_patch16_224", "pretrained", 3) == (config["mean"], config["std"])
    own = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    mean, std = backbones.normalisation("torchvision/resnet18", "file.npz", 5)
    assert mean == (*own.mean, *own.mean[:2])
    assert std == (*own.std, *own.std[:2])
    assert backbones.normalisation("torchvision/resnet18", "pretrained", 1)[0] == pytest.approx((sum(own.mean) / 3,))
    with pytest.raises(UserError, match="Unknown backbone"):
        backbones.normalisation("resnet19", "none", 3)


def test_every_name_is_described():
    described = backbones.describe()
    assert [name for name, _ in described] == backbones.names()
    assert {"resnet10t", "torchvision/resnet18"} <= set(backbones.names())
    assert dict(described)["test_resnet"] == "timm resnet, trained at 160 px"
    assert all(text and "\n" not in text for _, text in described)


def test_hub_check_takes_names_with_tags():
    hub.check("resnet18.tv_in1k", [])

import numpy as np
import pytest
import safetensors.torch
import torch
from timm.models import adapt_input_conv

from cellml.errors import UserError
from cellml.models import backbones, weights
from cellml.vision import timm, torchvision


def create(name="test_resnet", **more):
    return backbones.create(name, **{"channels": 3, "num_classes": 3, "size": 64, **more})


@pytest.fixture
def state():
    torch.manual_seed(7)
    return timm.create_model("test_resnet", num_classes=10).state_dict()


def test_every_format_is_read(state, tmp_path):
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    np.savez(tmp_path / "w.npz", **{key: value.numpy() for key, value in state.items()})
    torch.save(state, tmp_path / "w.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "nested.pt")
    for name in ("w.safetensors", "w.npz", "w.pth", "nested.pt"):
        read = weights.read(tmp_path / name)
        assert read.keys() == state.keys()
        assert all(torch.equal(read[key], value) for key, value in state.items())


def test_trunk_is_taken_and_the_head_is_fresh_where_classes_differ(state, tmp_path):
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    net = create(weights=str(tmp_path / "w.safetensors")).state_dict()
    assert all(torch.equal(net[k], v) for k, v in state.items() if not k.startswith("fc."))
    assert net["fc.weight"].shape == (3, 96)
    same = create(weights=state, num_classes=10).state_dict()
    assert all(torch.equal(same[key], value) for key, value in state.items())


def test_state_without_a_head_is_taken(state):
    trunk = {key: value for key, value in state.items() if not key.startswith("fc.")}
    assert torch.equal(create(weights=trunk).conv1[0].weight, state["conv1.0.weight"])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
def test_first_convolution_is_adapted_as_timm_does(channels, state):
    kernel = state["conv1.0.weight"]
    expected = adapt_input_conv(channels, kernel)
    torch.testing.assert_close(weights.adapt_channels(kernel, channels), expected)
    torch.testing.assert_close(create(weights=state, channels=channels).conv1[0].weight.data, expected)


@pytest.mark.parametrize(("old", "new"), [(5, 3), (1, 3), (2, 7), (4, 1)])
def test_equal_channels_keep_their_response_for_any_number(old, new):
    kernel = torch.randn(8, 1, 3, 3).expand(8, old, 3, 3)
    image = torch.randn(1, 1, 9, 9)
    before = torch.nn.functional.conv2d(image.expand(1, old, 9, 9), kernel)
    after = torch.nn.functional.conv2d(image.expand(1, new, 9, 9), weights.adapt_channels(kernel, new))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_positions_are_resampled_as_timm_does():
    source = timm.create_model("test_vit", img_size=96)
    small = create("test_vit", weights=source.state_dict(), size=64)
    expected = timm.create_model("test_vit", img_size=96)
    expected.load_state_dict(source.state_dict())
    expected.set_input_size(img_size=(64, 64))
    torch.testing.assert_close(small.pos_embed.data, expected.pos_embed.data)
    torch.testing.assert_close(small.blocks[0].attn.qkv.weight.data, source.blocks[0].attn.qkv.weight.data)


def test_side_heads_of_inceptions_are_left_out():
    source = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False)
    net = create("torchvision/googlenet", weights=source.state_dict())
    assert torch.equal(net.conv1.conv.weight, source.conv1.conv.weight)


def test_weights_of_another_family_are_refused_with_counts(state):
    own = set(create("test_efficientnet").state_dict())
    missing = {k for k in own - set(state) if not k.startswith("classifier.") and not k.endswith("num_batches_tracked")}
    unexpected = set(state) - own
    counts = rf"of its {len(own)} tensors, {len(missing)} missing .*, {len(unexpected)} unexpected"
    with pytest.raises(UserError, match=counts):
        create("test_efficientnet", weights=state)


def test_one_missing_one_unexpected_and_one_of_another_shape(state):
    state["extra"] = torch.zeros(1)
    state["layer1.0.conv1.weight"] = torch.zeros(2, 2)
    del state["layer2.0.conv1.weight"]
    with pytest.raises(UserError) as caught:
        create(weights=state)
    message = str(caught.value)
    assert "1 missing (such as 'layer2.0.conv1.weight')" in message
    assert "1 unexpected (such as 'extra')" in message
    assert "1 of another shape (such as 'layer1.0.conv1.weight')" in message


class Dangerous:
    def __reduce__(self):
        return print, ("executed",)


def test_files_that_hold_anything_else_are_refused_and_never_executed(tmp_path, capsys):
    torch.save({"w": Dangerous()}, tmp_path / "pickle.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    np.savez(tmp_path / "object.npz", w=np.array([Dangerous()], dtype=object))
    (tmp_path / "junk.safetensors").write_bytes(b"no tensors here")
    (tmp_path / "junk.npz").write_bytes(b"no arrays here")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("pickle.pth", "list.pth", "object.npz", "junk.safetensors", "junk.npz", "empty.pth"):
        with pytest.raises(UserError, match=f"named tensors alone in the weights file .*{name}") as caught:
            weights.read(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out


def test_real_squeezenet_weights_load(real_data):
    path = real_data / "weights" / "squeezenet1_0_torchvision_norm.npz"
    if not path.is_file():
        pytest.skip(f"no weights at {path}")
    net = create("torchvision/squeezenet1_0", weights=str(path)).eval()
    original = torchvision.models.squeezenet1_0(weights=None).eval()
    original.load_state_dict(weights.read(path))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbones.embed(net, images), original.features(images).mean((2, 3)))
    create("torchvision/squeezenet1_0", weights=str(path), channels=5)

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cellml.errors import UserError
from cellml.explain import gradcam
from cellml.explain.base import explain
from tests.explain.helpers import Linear, Pooled, built, fit_head, noise, planted, wrapped


def closed_form(net, images, classes):
    """Class activation map (Zhou et al. 2016): head weights times activations, over the number of positions."""
    with torch.no_grad():
        activations = net.activations(images)
        positions = activations.shape[2] * activations.shape[3] + (2 if net.layout == "NLC" else 0)
        cam = torch.einsum("nchw,nc->nhw", activations, net.fc.weight[classes]) / positions
        return F.interpolate(cam[:, None], size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0].numpy()


@pytest.mark.parametrize("features", [5, 8])  # 8 is the grid's own side: the layout cannot be read off the shape
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NLC"])
def test_equals_the_class_activation_map_whatever_the_layout(layout, features):
    net = Pooled(layout, features)
    if layout == "NHWC":
        net.output_fmt = "NHWC"
    images, classes = noise(4, 16) / 255, torch.tensor([0, 1, 2, 1])
    result = explain("gradcam", wrapped(net), images, classes, layer="body", score="logit")
    assert (result.method, result.layer) == ("gradcam", "body")
    np.testing.assert_allclose(result.maps, closed_form(net, images, classes), rtol=1e-4, atol=1e-6)
    assert result.maps.min() < 0 < result.maps.max()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NLC"])
def test_rectangular_images(layout):
    net = Pooled(layout)
    images = noise(2, 16, width=32) / 255
    result = explain("gradcam", wrapped(net), images, [0, 1], layer="body", score="logit")
    np.testing.assert_allclose(result.maps, closed_form(net, images, torch.tensor([0, 1])), rtol=1e-4, atol=1e-6)


def test_an_operation_in_place_after_the_target_changes_nothing_but_the_scale():
    plain, changed = Pooled("NCHW"), Pooled("NCHW", in_place=True)
    changed.load_state_dict(plain.state_dict())
    images = noise(2, 16) / 255
    first, second = (
        explain("gradcam", wrapped(net), images, [0, 1], layer="body", score="logit") for net in (plain, changed)
    )
    np.testing.assert_allclose(second.maps, 3 * first.maps, rtol=1e-4, atol=1e-6)


def test_agrees_with_captum_where_captum_is_right():
    classifier = built("test_resnet").eval()
    images, classes = noise(3), torch.tensor([2, 0, 1])
    peer = captum.attr.LayerGradCam(classifier.logits, classifier.net.layer3)
    cam = peer.attribute(images, target=classes, relu_attributions=False).detach()
    wanted = F.interpolate(cam, size=(64, 64), mode="bilinear", align_corners=False)[:, 0].numpy()
    result = explain("gradcam", classifier, images, classes, layer="layer3", score="logit")
    np.testing.assert_allclose(result.maps, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_a_temperature_divides_the_maps():
    images = noise()
    cold, warm = built("test_resnet"), built("test_resnet", temperature=2.0)
    warm.load_state_dict(cold.state_dict())
    first, second = (explain("gradcam", c, images, [0, 1], score="logit") for c in (cold, warm))
    np.testing.assert_allclose(first.maps, 2 * second.maps, rtol=1e-4)


def test_without_a_spatial_module_occlusion_stands_in_and_says_why():
    classifier = wrapped(Linear(3, 16, 3))
    images = noise(2, 16)
    result = explain("gradcam", classifier, images, [0, 1])
    assert result.method == "occlusion"
    assert "gradcam cannot serve hand-built" in result.fallback
    np.testing.assert_array_equal(result.maps, explain("occlusion", classifier, images, [0, 1]).maps)


def test_a_head_of_zeros_is_a_recorded_fallback():
    classifier = built("test_resnet", size=32)
    nn.init.zeros_(classifier.net.fc.weight)
    assert "gradient at the image's positions is zero" in explain("gradcam", classifier, noise(1, 32), [0]).fallback


def test_an_unknown_layer_is_the_users_mistake():
    with pytest.raises(UserError, match=r"'layer'.*'layer9'.*no such module"):
        explain("gradcam", built("test_resnet"), noise(), [0, 1], layer="layer9")


@pytest.mark.parametrize("name", ["gradcam", "occlusion"])
@pytest.mark.parametrize("backbone", ["test_resnet", "resnet10t"])
def test_peaks_on_the_part_that_decides(backbone, name, capsys):
    classifier = built(backbone, classes=2)
    images, classes, _ = planted(256, 64, 16, seed=0)
    fit_head(classifier, images, classes)
    images, classes, masks = planted(14, 64, 16, seed=1)
    with torch.no_grad():
        assert (classifier.logits(images).argmax(dim=1).numpy() == classes).mean() >= 0.95
    maps = explain(name, classifier, images, classes).maps
    rows = np.arange(len(maps))
    hits = masks.reshape(len(maps), -1)[rows, maps.reshape(len(maps), -1).argmax(axis=1)].mean()
    centre, chance = masks[:, 32, 32].mean(), masks.mean()
    with capsys.disabled():
        print(f"\n{name} on {backbone}: hits {hits:.2f}, always centre {centre:.2f}, random {chance:.2f}")
    assert hits >= 0.9
    assert max(centre, chance) < 0.3


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NLC"])
def test_plus_plus_follows_its_formula(layout, signed, monkeypatch):
    """Equations 10 and 19 in loops over channels and positions, with gradients known in closed form."""
    net = Pooled(layout)
    if layout == "NHWC":
        net.output_fmt = "NHWC"
    if signed:  # activations below zero as after GELU: the denominator may change its sign
        monkeypatch.setattr(net, "activations", lambda x: F.gelu(net.conv(x)))
    images, classes = noise(3, 16) / 255, torch.tensor([0, 1, 2])
    got = explain("gradcam_pp", wrapped(net), images, classes, layer="body", score="logit")
    with torch.no_grad():
        activations = net.activations(images).double().numpy()
    head = net.fc.weight.detach().double().numpy()
    n, features, high, wide = activations.shape
    maps = np.zeros((n, high, wide))
    for image in range(n):
        for k in range(features):
            plane = activations[image, k]
            slope = head[classes[image], k] / (high * wide + (2 if layout == "NLC" else 0))
            weight = 0.0
            for _ in range(high * wide):
                weight += slope**2 / (2 * slope**2 + slope**3 * plane.sum()) * max(slope, 0)
            maps[image] += weight * plane
    wanted = F.interpolate(torch.from_numpy(maps)[:, None], size=(16, 16), mode="bilinear", align_corners=False)[:, 0]
    assert (got.method, got.layer) == ("gradcam_pp", "body")
    np.testing.assert_allclose(got.maps, wanted.numpy(), rtol=1e-3, atol=1e-5 * np.abs(maps).max())


def test_plus_plus_where_the_gradient_vanishes_at_some_positions():
    """A gradient of zero has weight zero: no division by it."""
    activations, gradients = torch.randn(2, 3, 3, 4), torch.randn(2, 3, 3, 4)
    gradients[:, 0] = 0
    gradients[:, :, :, 0] = 0
    got = gradcam._plus_plus(activations, gradients).double().numpy()
    a, g = activations.double().numpy(), gradients.double().numpy()
    wanted = np.zeros((2, 4))
    for n, i, j, k in zip(*np.nonzero(g > 0), strict=True):
        wanted[n, k] += g[n, i, j, k] ** 3 / (2 * g[n, i, j, k] ** 2 + g[n, i, j, k] ** 3 * a[n, :, :, k].sum())
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    assert (got[:, 0] == 0).all()


def test_plus_plus_falls_back_as_grad_cam_does():
    classifier, images = wrapped(Linear(3, 16, 3)), noise(2, 16)
    result = explain("gradcam_pp", classifier, images, [0, 1])
    assert (result.method, result.fallback.split(":")[0]) == ("occlusion", "gradcam_pp cannot serve hand-built")
    with pytest.raises(UserError, match=r"'layer'.*'layer9'.*no such module"):
        explain("gradcam_pp", built("test_resnet"), noise(), [0, 1], layer="layer9")

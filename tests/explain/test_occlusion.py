import captum.attr
import numpy as np
import pytest
import torch

from cellml.errors import UserError
from cellml.explain import base, occlusion, references
from cellml.explain.base import explain
from tests.explain.helpers import Linear, built, noise, wrapped


@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_a_linear_network_gives_weight_times_change_of_each_patch(baseline):
    classifier = wrapped(Linear(3, 12, 2), classes=2, size=12)
    images, classes = noise(3, 12) / 255, torch.tensor([0, 1, 1])
    result = explain("occlusion", classifier, images, classes, patch=0.25, stride=0.25, baseline=baseline)
    hidden = references.reference(images, baseline, 0.25)
    weight = classifier.net.weight.detach()
    per_pixel = ((weight[classes] - weight[1 - classes]) * (images - hidden)).sum(dim=1)
    wanted = per_pixel.reshape(3, 4, 3, 4, 3).sum(dim=(2, 4)).numpy().repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_allclose(result.maps, wanted, atol=1e-4)


def test_overlapping_patches_agree_with_captum():
    classifier = built("test_resnet", size=24, classes=3).eval()
    images, classes = noise(2, 24), torch.tensor([0, 2])
    result = explain("occlusion", classifier, images, classes, patch=8 / 24, stride=4 / 24, baseline="mean")
    peer = captum.attr.Occlusion(lambda x, wanted: base.scores(classifier, x, wanted, "log_odds"))
    wanted = peer.attribute(
        images,
        sliding_window_shapes=(3, 8, 8),
        strides=(3, 4, 4),
        baselines=images.mean(dim=(2, 3), keepdim=True).expand_as(images).contiguous(),
        additional_forward_args=classes,
    )
    np.testing.assert_allclose(result.maps, wanted[:, 0].detach().numpy(), atol=1e-5)


def test_blur_leaves_an_empty_background_empty_and_mean_does_not():
    classifier = wrapped(Linear(3, 32, 2), classes=2, size=32)
    images = torch.zeros(1, 3, 32, 32)
    images[:, :, 24:30, 24:30] = 200.0
    blur, mean = (
        explain("occlusion", classifier, images, [1], baseline=b, patch=0.1).maps[0] for b in ("blur", "mean")
    )
    far = (slice(0, 12), slice(0, 12))
    assert np.abs(blur[far]).max() < 1e-3 * np.abs(blur).max()  # float32 sums of thousands of pixels
    assert np.abs(mean[far]).max() > 1
    assert np.abs(blur[24:30, 24:30]).max() > 10


@pytest.mark.parametrize("side", [8, 17, 64])
@pytest.mark.parametrize("patch", [0.05, 0.15, 0.4, 1.0])
@pytest.mark.parametrize("stride", [0.05, 0.3, 1.0])
def test_windows_reach_every_edge_in_even_steps(side, patch, stride):
    windows = occlusion._windows(side, patch, stride).numpy()
    length = max(1, round(patch * side))
    starts = windows.argmax(axis=1)
    assert windows.sum(axis=1).tolist() == [length] * len(windows)
    assert starts[0] == 0
    assert starts[-1] == side - length
    assert np.diff(starts).max(initial=0) <= max(1, round(stride * side))


def test_rectangular_images():
    classifier = built("test_resnet")
    assert explain("occlusion", classifier, noise(1, 32, width=48), [0], patch=0.5, stride=0.5).maps.shape == (
        1,
        32,
        48,
    )


def test_user_errors():
    classifier = wrapped(Linear(3, 16, 3))
    images = noise(1, 16)
    with pytest.raises(UserError, match="'patch' above 0 and at most 1, got 0"):
        explain("occlusion", classifier, images, [0], patch=0)
    with pytest.raises(UserError, match="'stride' above 0 and at most 1, got 3"):
        explain("occlusion", classifier, images, [0], stride=3)
    with pytest.raises(UserError, match="'blur' or 'mean', got 'black'"):
        explain("occlusion", classifier, images, [0], baseline="black")

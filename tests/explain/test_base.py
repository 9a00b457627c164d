import contextlib

import numpy as np
import pytest
import torch

from cellml.errors import UserError
from cellml.explain import base
from cellml.explain.base import EXPLAINERS, Attribution, explain
from tests.explain.helpers import Linear, Pooled, built, noise, wrapped

SMALL_SWIN = {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2), "window_size": 4}
BACKBONES = {
    "test_resnet": {},
    "test_vit": {},
    "test_convnext": {},
    "test_efficientnet": {},
    "test_mambaout": {},
    "test_maxvit": {},
    "resnet10t": {},
    "torchvision/squeezenet1_0": {},
    "swin_tiny_patch4_window7_224": SMALL_SWIN,
}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", EXPLAINERS)
def test_conformance(name, backbone):
    classifier = built(backbone, options=BACKBONES[backbone])
    frozen = next(classifier.parameters())
    frozen.requires_grad_(False)
    classifier.train()
    some = next(iter(classifier.net.children()))
    some.eval()
    training = [m.training for m in classifier.modules()]
    gradients = [p.requires_grad for p in classifier.parameters()]
    state = {k: v.clone() for k, v in classifier.state_dict().items()}
    images, before = noise(), noise()

    first = explain(name, classifier, images, [0, 2])
    second = explain(name, classifier, images, [0, 2])

    assert first.maps.shape == (2, 64, 64)
    assert first.maps.dtype == np.float32
    assert np.isfinite(first.maps).all()
    assert (first.maps.std(axis=(1, 2)) > 0).all()
    assert first.method == name
    assert first.fallback is None
    np.testing.assert_array_equal(first.classes, [0, 2])
    np.testing.assert_array_equal(first.maps, second.maps)
    assert [m.training for m in classifier.modules()] == training
    assert [p.requires_grad for p in classifier.parameters()] == gradients
    assert all(p.grad is None for p in classifier.parameters())
    assert all(torch.equal(v, state[k]) for k, v in classifier.state_dict().items())
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_classes_differ_and_batches_do_not_matter(name):
    classifier = built("test_resnet")
    images = noise(3)
    together = explain(name, classifier, images, [0, 1, 2], batch_size=64)
    apart = explain(name, classifier, images, [0, 1, 2], batch_size=2)
    other = explain(name, classifier, images, torch.tensor([1, 1, 2]))
    np.testing.assert_allclose(together.maps, apart.maps, atol=1e-4 * np.abs(together.maps).max())
    assert np.abs(together.maps[0] - other.maps[0]).max() > 0.1 * np.abs(together.maps[0]).max()
    np.testing.assert_allclose(together.maps[1:], other.maps[1:], atol=1e-4 * np.abs(together.maps).max())


@pytest.mark.parametrize("around", [contextlib.nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_callers_gradient_mode_does_not_matter(name, around):
    classifier = built("test_efficientnet")
    with around():
        images = noise() + 0.0
        inside = explain(name, classifier, images, torch.tensor([0, 1]))
    np.testing.assert_array_equal(inside.maps, explain(name, classifier, noise(), [0, 1]).maps)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_any_number_of_channels(name, channels):
    classifier = built("test_resnet", size=48, channels=channels)
    result = explain(name, classifier, noise(1, 48, channels), [1])
    assert result.maps.shape == (1, 48, 48)
    assert result.maps.std() > 0


@pytest.mark.parametrize("name", EXPLAINERS)
def test_flags_come_back_after_an_error(name):
    classifier = built("test_resnet").train()
    with pytest.raises(UserError):
        explain(name, classifier, noise(), [0, 1], score="loudness")
    assert classifier.net.training
    assert all(p.requires_grad for p in classifier.parameters())


def test_user_errors_name_the_remedy():
    classifier = built("test_resnet")
    images = noise()
    with pytest.raises(UserError, match="did you mean 'gradcam'"):
        explain("gradcm", classifier, images, [0, 0])
    with pytest.raises(UserError, match="did you mean 'stride'"):
        explain("occlusion", classifier, images, [0, 0], strid=0.5)
    with pytest.raises(UserError, match=r"3 channels.*got \(2, 1, 64, 64\)"):
        explain("gradcam", classifier, images[:, :1], [0, 0])
    with pytest.raises(UserError, match="at least one image"):
        explain("gradcam", classifier, images[:0], [])
    with pytest.raises(UserError, match="from 0 to 2, got 0 to 3"):
        explain("gradcam", classifier, images, [0, 3])
    with pytest.raises(UserError, match="one class index for each of 2"):
        explain("gradcam", classifier, images, [0])


def test_a_broken_network_is_named():
    classifier = wrapped(Linear(3, 16, 3))
    with torch.no_grad():
        classifier.net.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="finite heatmaps"):
        explain("occlusion", classifier, noise(size=16), [0, 0])


@pytest.mark.parametrize(("score", "power"), [("logit", 0), ("log_odds", 1), ("probability", 2)])
def test_scores_follow_their_definitions(score, power):
    classifier = wrapped(Pooled("NCHW"))
    images, classes = noise(4, 16) / 255, torch.tensor([0, 1, 2, 1])
    with torch.no_grad():
        logits = classifier.logits(images).double().numpy()
        got = base.scores(classifier, images, classes, score).numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    own = p[np.arange(4), classes]
    wanted = [logits[np.arange(4), classes], np.log(own / (1 - own)), own][power]
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_attribution_wants_a_map_a_class():
    with pytest.raises(ValueError, match="a map for each of 3"):
        Attribution(np.zeros((2, 4, 4), np.float32), np.zeros(3, np.int64), "gradcam")

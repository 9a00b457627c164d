"""What holds for every registered method: a new one is tested by being registered."""

import contextlib
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

import cellml.explain  # noqa: F401
from cellml.errors import UserError
from cellml.explain.base import EXPLAINERS, explain
from cellml.models.classifier import Classifier
from tests.explain.helpers import QUICK, built, noise, served_by

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
ONLY = {  # the backbones that a method serves itself; any, where it is not named
    "guided_backprop": {"test_resnet", "resnet10t", "torchvision/squeezenet1_0"},
    "guided_gradcam": {"test_resnet", "resnet10t", "torchvision/squeezenet1_0"},
    "attention_rollout": {"test_vit"},
}
FALLS_BACK = ("test_convnext", "swin_tiny_patch4_window7_224")
FEW = ("test_resnet", "test_vit", "test_mambaout")  # of methods that see of a network what goes in and what comes out
BLACK_BOX = {"rise", "lime", "kernel_shap", "shap_partition", "smoothgrad", "gradient_shap", "shap_gradient"}
TRIED = {name: set(FEW) for name in BLACK_BOX} | {name: {*served, *FALLS_BACK} for name, served in ONLY.items()}
PAIRS = [(name, backbone) for name in EXPLAINERS for backbone in BACKBONES if backbone in TRIED.get(name, BACKBONES)]
CLASSLESS = {"attention_rollout"}
SCORED = [name for name in EXPLAINERS if "score" in EXPLAINERS.option_names(name)]
SEEDED = [name for name in EXPLAINERS if "seed" in EXPLAINERS.option_names(name)]
methods = pytest.mark.parametrize("name", EXPLAINERS)


def asked(name, classifier, images, classes, **options):
    return explain(name, classifier, images, classes, **QUICK.get(name, {}), **options)


def says_something(result, classifier, images):
    """Every map does, but for guided Grad-CAM's where Grad-CAM finds nothing for the class."""
    if result.method != "guided_gradcam":
        return np.ones(len(images), dtype=bool)
    return explain("gradcam", classifier, images, result.classes).maps.max(axis=(1, 2)) > 0


def hooks_of(module):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [len(getattr(m, kind)) for m in module.modules() for kind in kinds]


def random_states():
    return torch.get_rng_state().tolist(), [str(part) for part in np.random.get_state()], random.getstate()


def test_every_method_of_the_studies_is_there():
    wanted = (
        "gradcam gradcam_pp guided_backprop guided_gradcam saliency integrated_gradients smoothgrad occlusion rise lime"
    )
    more = "kernel_shap gradient_shap shap_gradient shap_partition attention_rollout"
    assert set(EXPLAINERS) == set(f"{wanted} {more}".split())
    assert {name for name in EXPLAINERS if EXPLAINERS.marked(name, "classless")} == CLASSLESS


@pytest.mark.parametrize(("name", "backbone"), PAIRS)
def test_maps_and_an_undisturbed_classifier(name, backbone):
    classifier = built(backbone, options=BACKBONES[backbone])
    next(classifier.parameters()).requires_grad_(False)
    some = list(classifier.parameters())[-1]
    some.grad = torch.ones_like(some)
    classifier.train()
    next(iter(classifier.net.children())).eval()
    training = [m.training for m in classifier.modules()]
    gradients = [p.requires_grad for p in classifier.parameters()]
    state = {k: v.clone() for k, v in classifier.state_dict().items()}
    images, before = noise(), noise()
    hooks, drawn = hooks_of(classifier), random_states()

    first = asked(name, classifier, images, [0, 2])
    assert random_states() == drawn
    torch.rand(1), np.random.rand(1)
    second = asked(name, classifier, images, [0, 2])

    assert first.maps.shape == (2, 64, 64)
    assert first.maps.dtype == np.float32
    assert np.isfinite(first.maps).all()
    np.testing.assert_array_equal(first.maps.std(axis=(1, 2)) > 0, says_something(first, classifier, images))
    np.testing.assert_array_equal(first.classes, [0, 2])
    np.testing.assert_array_equal(first.maps, second.maps)
    if backbone in ONLY.get(name, BACKBONES):
        assert (first.method, first.fallback) == (name, None)
    else:
        assert first.method == "occlusion"
        assert first.fallback.startswith(f"{name} cannot serve {backbone}: ")
        assert "\n" not in first.fallback
    if first.convergence is not None:
        assert first.convergence.shape == (2,)
        assert first.convergence.dtype == np.float64
        assert np.isfinite(first.convergence).all()
    if first.channels is not None:
        assert first.channels.shape == (2, 3, 64, 64)
        assert first.channels.dtype == np.float32
    assert [m.training for m in classifier.modules()] == training
    assert [p.requires_grad for p in classifier.parameters()] == gradients
    assert torch.equal(some.grad, torch.ones_like(some))
    assert all(p.grad is None for p in classifier.parameters() if p is not some)
    assert all(torch.equal(v, state[k]) for k, v in classifier.state_dict().items())
    assert hooks_of(classifier) == hooks
    assert torch.equal(images, before)
    assert not images.requires_grad


@methods
def test_one_image_alone_has_the_map_it_has_among_others(name):
    classifier, images = built(served_by(name)), noise(3)
    together = asked(name, classifier, images, [0, 1, 2], batch_size=64)
    apart = asked(name, classifier, images, [0, 1, 2], batch_size=2)
    alone = asked(name, classifier, images[1:2], [1])
    close = 1e-4 * np.abs(together.maps).max()
    np.testing.assert_allclose(together.maps, apart.maps, atol=close)
    np.testing.assert_allclose(together.maps[1:2], alone.maps, atol=close)
    if together.convergence is not None:
        np.testing.assert_allclose(together.convergence[1:2], alone.convergence, atol=1e-4)


@methods
def test_the_class_decides_where_the_method_knows_classes(name):
    classifier, images = built(served_by(name)), noise(2)
    one, other = (asked(name, classifier, images, [wanted, 2]) for wanted in (0, 1))
    scale = np.abs(one.maps[0]).max()
    if name in CLASSLESS:
        np.testing.assert_array_equal(one.maps, other.maps)
    else:
        assert np.abs(one.maps[0] - other.maps[0]).max() > 0.1 * scale
        np.testing.assert_allclose(one.maps[1], other.maps[1], atol=1e-4 * np.abs(one.maps[1]).max())


@pytest.mark.parametrize("around", [contextlib.nullcontext, torch.no_grad, torch.inference_mode])
@methods
def test_the_callers_gradient_mode_does_not_matter(name, around):
    classifier = built(served_by(name))
    with around():
        inside = asked(name, classifier, noise() + 0.0, torch.tensor([0, 1]))
    np.testing.assert_array_equal(inside.maps, asked(name, classifier, noise(), [0, 1]).maps)


@methods
def test_dropout_and_batch_statistics_are_off(name):
    classifier = built(served_by(name), dropout=0.5)
    training = asked(name, classifier.train(), noise(), [0, 1])
    np.testing.assert_array_equal(training.maps, asked(name, classifier.eval(), noise(), [0, 1]).maps)


@pytest.mark.parametrize("channels", [1, 4])
@methods
def test_any_number_of_channels_of_16_bits(name, channels):
    range_ = {"low": (100.0,) * channels, "high": (60_000.0,) * channels, "dtype": "uint16"}
    classifier = built(
        served_by(name), size=48 if served_by(name) == "test_resnet" else 64, channels=channels, **range_
    )
    side = classifier.spec.size
    images = 100 + 235 * noise(1, side, channels)
    result = asked(name, classifier, images, [1])
    assert result.maps.shape == (1, side, side)
    np.testing.assert_array_equal(result.maps.std(axis=(1, 2)) > 0, says_something(result, classifier, images))
    assert (result.method, result.fallback) == (name, None)
    assert result.channels is None or result.channels.shape == (1, channels, side, side)


@pytest.mark.parametrize("name", SCORED)
def test_maps_do_not_depend_on_the_unit_of_the_raw_values(name):
    """The same pictures in 8 and in 16 bits: additive maps agree, gradients are by raw value."""
    coarse = built("test_resnet", size=32)
    fine = built("test_resnet", size=32, high=(255.0 * 257,) * 3, dtype="uint16")
    fine.load_state_dict(coarse.state_dict())
    first, second = asked(name, coarse, noise(1, 32), [0]), asked(name, fine, 257 * noise(1, 32), [0])
    by_value = name in {"saliency", "smoothgrad", "guided_backprop", "guided_gradcam"}
    scaled = second.maps * (257 if by_value else 1)
    np.testing.assert_allclose(scaled, first.maps, rtol=2e-2, atol=2e-3 * np.abs(first.maps).max())


@methods
def test_rectangular_images(name):
    rollout = name == "attention_rollout"
    classifier = built(served_by(name), options={"dynamic_img_size": True} if rollout else {})
    result = asked(name, classifier, noise(1, 32, width=48), [1])
    assert result.maps.shape == (1, 32, 48)
    assert result.fallback is None


@methods
def test_bad_input_is_one_line(name):
    classifier, images = built(served_by(name)), noise()
    given = [
        (images[:0], [], {}, "at least one image"),
        (images[:, :2], [0, 1], {}, "3 channels"),
        (images, [0, 3], {}, "class indices from 0 to 2"),
        (images, [0, 1], {"batch_siz": 3}, "did you mean 'batch_size'"),
    ]
    for some, classes, options, message in given:
        with pytest.raises(UserError, match=message) as error:
            explain(name, classifier, some, classes, **options)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_too_little_asked_is_the_users_mistake(name):
    counts = {"samples", "steps", "count"} & set(EXPLAINERS.option_names(name))
    for option in counts:
        with pytest.raises(UserError, match=f"'{option}' of at least"):
            explain(name, built("test_resnet", size=32), noise(1, 32), [0], **{option: 0})
    if "baseline" in EXPLAINERS.option_names(name):
        with pytest.raises(UserError, match="'blur' or 'mean', got 'black'"):
            explain(name, built("test_resnet", size=32), noise(1, 32), [0], baseline="black")


@methods
def test_flags_come_back_after_an_error(name):
    classifier = built(served_by(name)).train()
    drawn = random_states()
    with pytest.raises(UserError):
        explain(name, classifier, noise(), [0, 1], score="loudness")
    assert classifier.net.training
    assert all(p.requires_grad for p in classifier.parameters())
    assert not any(hooks_of(classifier))
    assert random_states() == drawn


@pytest.mark.parametrize("score", ["logit", "log_odds", "probability"])
@pytest.mark.parametrize("name", SCORED)
def test_calibration_is_within_the_last_layer(name, score):
    warm, divided = built("test_resnet", size=32), built("test_resnet", size=32)
    offsets = [0.3, *[-0.1] * (len(warm.spec.classes) - 1)]
    warm = Classifier(replace(warm.spec, temperature=3.0, offsets=tuple(offsets)), warm.net)
    divided.load_state_dict(warm.state_dict())
    with torch.no_grad():
        divided.net.fc.bias += torch.tensor(offsets)
        divided.net.fc.weight /= 3
        divided.net.fc.bias /= 3
    first, second = (asked(name, c, noise(1, 32), [1], score=score).maps for c in (warm, divided))
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4 * np.abs(second).max())
    assert np.abs(first).max() > 0


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_decides_what_is_drawn(name):
    classifier = built("test_resnet", size=32)
    first, same, other = (asked(name, classifier, noise(1, 32), [1], seed=seed).maps for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    if name == "shap_partition":  # draws only which of two equal rectangles is halved first
        return
    assert np.abs(first - other).max() > 1e-3 * np.abs(first).max()

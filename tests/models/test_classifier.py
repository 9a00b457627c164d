import itertools
import json

import numpy as np
import pytest
import torch

from cellml.data import geometry
from cellml.errors import UserError
from cellml.models import classifier
from cellml.models.classifier import Spec
from cellml.models.views import COUNTS, views

FAMILIES = [
    "test_resnet",
    "test_vit",
    "test_convnext",
    "test_efficientnet",
    "test_mambaout",
    "resnet10t",
    "torchvision/squeezenet1_0",
    "torchvision/shufflenet_v2_x0_5",
]


def exported(model, images):
    auto = torch.export.Dim.AUTO
    return torch.export.export(model, (images,), dynamic_shapes=({0: auto, 1: auto, 2: auto, 3: None},)).module()


@pytest.mark.parametrize("backbone", FAMILIES)
def test_exported_program_equals_eager_for_any_batch_and_side(backbone, make_spec, make_images):
    model = classifier.build(make_spec(backbone)).eval()
    program = exported(model, make_images(2, 96, 112))
    for count, (height, width) in itertools.product((1, 4, 9), ((128, 128), (100, 90))):
        images = make_images(count, height, width, seed=count)
        with torch.no_grad():
            torch.testing.assert_close(program(images), model(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("channels", "tta"), [(1, "d4"), (3, "none"), (5, "d4")])
def test_uint16_exports_with_any_number_of_channels(channels, tta, make_spec, make_images):
    model = classifier.build(make_spec("test_resnet", channels, "uint16", tta=tta)).eval()
    program = exported(model, make_images(3, 40, 48, channels, "uint16"))
    for count, side in ((1, 128), (4, 40), (9, 90)):
        images = make_images(count, side, side + 7, channels, "uint16", seed=side)
        with torch.no_grad():
            expected = model(images)
            torch.testing.assert_close(program(images), expected, rtol=0, atol=1e-5)
        assert expected.shape == (count, 3)
        torch.testing.assert_close(expected.sum(dim=1), torch.ones(count))


def test_prediction_is_the_stated_formula(make_spec, make_images):
    spec = make_spec(low=(10.0, 0.0, 5.0), high=(200.0, 255.0, 250.0), temperature=2.5)
    model = classifier.build(spec).eval()
    images = make_images(4, 70, 90)
    raw = geometry.fit(images, 80, 64).numpy()
    low, high, mean, std = (np.array(v)[:, None, None] for v in (spec.low, spec.high, spec.mean, spec.std))
    seen = torch.from_numpy((((raw - low) / (high - low) - mean) / std).astype(np.float32))
    with torch.no_grad():
        logits = model.net(seen)
        torch.testing.assert_close(model(images), torch.softmax(logits / 2.5, 1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.logits(torch.from_numpy(raw)), logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("tta", "turns"), [("none", [0]), ("flips", [0, 2]), ("d4", [0, 1, 2, 3])])
def test_views_are_the_symmetries_of_the_square(tta, turns):
    image = torch.arange(2 * 16).reshape(1, 2, 4, 4)
    upright = (image,) if tta == "none" else (image, image.flip(3))
    expected = {torch.rot90(x, k, (2, 3)).numpy().tobytes() for x in upright for k in turns}
    seen = views(image, tta)
    assert torch.equal(seen[0], image)
    assert len(seen) == len(expected) == COUNTS[tta]
    assert {view.contiguous().numpy().tobytes() for view in seen} == expected


@pytest.mark.parametrize(("tta", "turn"), [("flips", 2), ("d4", 1)])
def test_test_time_averaging_is_the_mean_over_views_and_invariant(make_spec, make_images, tta, turn):
    model = classifier.build(make_spec(tta=tta)).eval()
    plain = classifier.Classifier(make_spec(), model.net)
    prepared = model.prepare(make_images(3, 80, 80)).clone()
    with torch.no_grad():
        expected = torch.stack([plain.probabilities(view) for view in views(prepared, tta)]).mean(0)
        single = plain.probabilities(prepared)
        averaged = model.probabilities(prepared)
        turned = model.probabilities(torch.rot90(prepared, turn, (2, 3)))
    torch.testing.assert_close(averaged, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(turned, averaged, rtol=0, atol=1e-5)
    assert (averaged - single).abs().max() > 1e-6


@pytest.mark.parametrize("offsets", [(), (0.7, -0.2, -0.5)])
@pytest.mark.parametrize("tta", ["none", "d4"])
def test_calibration_is_a_power_of_the_averaged_probabilities_and_a_factor(tta, offsets, make_spec, make_images):
    model = classifier.build(make_spec(tta=tta, temperature=0.4, offsets=offsets)).eval()
    cold = classifier.Classifier(make_spec(tta=tta), model.net)
    images = make_images(3, 80, 80)
    with torch.no_grad():
        plain = cold(images).double() * torch.tensor(offsets or [0.0] * 3).double().exp()
        expected = plain ** (1 / 0.4) / (plain ** (1 / 0.4)).sum(1, keepdim=True)
        torch.testing.assert_close(model(images).double(), expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(exported(model, images)(images), model(images), rtol=0, atol=1e-5)


def test_temperature_of_sure_views_stays_finite(make_spec, make_images):
    model = classifier.build(make_spec(tta="d4", temperature=3.0)).eval()
    model.net.forward = lambda x: torch.tensor([0.0, -200.0, 150.0]).expand(len(x), 3)
    with torch.no_grad():
        found = model(make_images(2, 80, 80))
    expected = torch.softmax(torch.tensor([0.0, -200.0, 150.0]) / 3, 0)
    torch.testing.assert_close(found, expected.expand(2, 3), rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit", "torchvision/squeezenet1_0"])
def test_round_trip_is_bit_equal(backbone, make_spec, make_images, tmp_path):
    spec = make_spec(backbone, dropout=0.2, tta="d4", temperature=1.3, thresholds={"前期": 0.25}, digest="ab" * 16)
    model = classifier.build(spec).eval()
    for module in model.net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    classifier.save(model, tmp_path / "model")
    loaded = classifier.load(tmp_path / "model")
    images = make_images(3, 100, 90)
    assert loaded.spec == spec
    assert not loaded.training
    state = loaded.net.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.net.state_dict().items())
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))


def test_description_is_plain_json_that_keeps_any_name(make_spec, tmp_path):
    names = ("CD4+", 'a"b\\c', "前期", "🧫", "x\ny", "bad\udcff byte")
    spec = make_spec(classes=names, thresholds={"🧫": 0.5}, options={"act_layer": "relu", "nested": {"a": [1, 2]}})
    text = spec.to_json()
    assert text.isascii()
    assert tuple(json.loads(text)["classes"]) == names
    assert Spec.from_json(text) == spec
    assert Spec.from_dict(spec.to_dict()) == spec
    assert json.loads(text) == spec.to_dict()


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "int32"},
        {"mean": (0.5,)},
        {"std": (0.2, 0.0, 0.2)},
        {"high": (0.0, 1.0, 1.0)},
        {"temperature": 0.0},
        {"offsets": (1.0,)},
    ],
)
def test_impossible_descriptions_are_refused(changes, make_spec):
    with pytest.raises(ValueError, match="expected"):
        make_spec(**changes)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d | {"version": 99}, "install a newer CellML"),
        (lambda d: d | {"colour": 1}, "unknown .'colour'."),
        (lambda d: {k: v for k, v in d.items() if k != "mean"}, "missing .'mean'."),
    ],
)
def test_foreign_descriptions_are_user_errors(change, match, make_spec):
    with pytest.raises(UserError, match=match):
        Spec.from_dict(change(make_spec().to_dict()))


def test_saved_models_with_faults_are_user_errors(make_spec, tmp_path):
    with pytest.raises(UserError, match=r"found no model\.json"):
        classifier.load(tmp_path)
    classifier.save(classifier.build(make_spec()), tmp_path)
    (tmp_path / "model.json").write_text("[1]")
    with pytest.raises(UserError, match="JSON of type list"):
        classifier.load(tmp_path)
    (tmp_path / "model.json").write_text("<html>")
    with pytest.raises(UserError, match="as JSON"):
        classifier.load(tmp_path)
    (tmp_path / "model.json").write_text(make_spec("test_vit").to_json())
    with pytest.raises(UserError, match=r"do not fit its model\.json"):
        classifier.load(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"do not fit its model\.json"):
        classifier.load(tmp_path)


def test_embedding_times_last_layer_gives_the_logits(make_spec, make_images):
    model = classifier.build(make_spec("test_convnext")).eval()
    prepared = model.prepare(make_images(4, 80, 80))
    with torch.no_grad():
        embedding = model.embed(prepared)
        torch.testing.assert_close(model.net.get_classifier()(embedding), model.logits(prepared))

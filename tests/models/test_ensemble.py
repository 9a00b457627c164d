import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from cellml.errors import UserError
from cellml.models import classifier, ensemble
from cellml.models.ensemble import Ensemble


@pytest.fixture
def trio(make_spec):
    """Members of different backbones, crops, sizes, views and temperatures."""
    return [
        classifier.build(make_spec("test_resnet", size=48, crop=80, tta="d4", digest="a" * 32)).eval(),
        classifier.build(make_spec("test_efficientnet", size=64, crop=None, digest="a" * 32)).eval(),
        classifier.build(make_spec("test_resnet", size=32, crop=40, temperature=0.5, digest="a" * 32)).eval(),
    ]


WEIGHTS = [0.5, 0.2, 0.3]


def test_probabilities_are_the_weighted_mean_of_the_members(trio, make_images):
    images = make_images(3, 90, 100)
    with torch.no_grad():
        got = Ensemble(trio, WEIGHTS)(images).numpy()
        each = [member(images).numpy() for member in trio]
    np.testing.assert_allclose(got, np.average(each, axis=0, weights=WEIGHTS), atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)
    assert max(np.abs(got - one).max() for one in each) > 1e-3


def test_members_of_one_view_share_the_resized_images(make_spec, make_images, monkeypatch):
    members = [classifier.build(make_spec(crop=crop, size=size)) for crop, size in ((40, 32), (40, 32), (None, 32))]
    calls, fit = [], classifier.geometry.fit
    monkeypatch.setattr(classifier.geometry, "fit", lambda *given: calls.append(given[1:]) or fit(*given))
    Ensemble(members, [0.25, 0.25, 0.5]).eval()(make_images(2, 50, 50))
    assert calls == [(40, 32), (None, 32)]


def test_what_it_says_of_itself(trio):
    spec = Ensemble(trio, WEIGHTS, strategy="greedy", thresholds={"CD4+": 0.3}).spec
    assert (spec.backbone, spec.strategy, spec.tta, spec.digest) == ("ensemble", "greedy", "d4", "a" * 32)
    assert (spec.classes, spec.channels, spec.dtype) == (trio[0].spec.classes, 3, "uint8")
    told = spec.to_dict()
    assert told == json.loads(json.dumps(told))
    assert told["weights"] == WEIGHTS
    assert [member["backbone"] for member in told["members"]] == ["test_resnet", "test_efficientnet", "test_resnet"]
    assert Ensemble(trio[1:], [0.5, 0.5]).spec.tta == "none"


def test_operating_points_can_be_changed(trio):
    before = Ensemble(trio, WEIGHTS, strategy="greedy", digest="z")
    after = ensemble.with_thresholds(before, {"CD4+": 0.3})
    assert after.spec == replace(before.spec, thresholds={"CD4+": 0.3})
    assert after.weighted() == before.weighted()


def test_the_digest_is_the_members_where_they_agree(make_spec):
    one, other = (classifier.build(make_spec(digest=name)) for name in ("x", "y"))
    assert Ensemble([one, one], [0.5, 0.5]).spec.digest == "x"
    assert Ensemble([one, other], [0.5, 0.5]).spec.digest == ""
    assert Ensemble([one, other], [0.5, 0.5], digest="z").spec.digest == "z"


def test_members_without_weight_are_left_out_and_ensembles_taken_apart(trio, make_images):
    inner = Ensemble(trio[:2], [0.25, 0.75])
    outer = Ensemble([inner, trio[2], trio[0]], [0.4, 0.6, 0])
    np.testing.assert_allclose(outer.spec.weights, [0.1, 0.3, 0.6])
    assert [member for member, _ in outer.weighted()] == trio
    images = make_images(2, 60, 60)
    with torch.no_grad():
        torch.testing.assert_close(outer(images), 0.4 * inner(images) + 0.6 * trio[2](images))


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.6], [1.5, -0.5], [float("nan"), 1.0]])
def test_impossible_weights_are_refused(weights, trio):
    with pytest.raises(ValueError, match="expected 2 weights"):
        Ensemble(trio[:2], weights)
    with pytest.raises(ValueError, match="expected 0 weights"):
        Ensemble([], [])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"classes": ("CD4+", "前期", "Métaphase")},
            r"same classes, got .*\['CD4\+', '前期', 'Métaphase'\] of member 2",
        ),
        ({"channels": 1}, r"same channels, got 3 of member 1 \(test_resnet\) and 1 of member 2"),
        ({"dtype": "uint16"}, "same dtype, got uint8 of .* and uint16 of"),
    ],
)
def test_members_that_do_not_go_together_name_the_two(changes, match, make_spec):
    members = [classifier.build(make_spec()), classifier.build(make_spec(**changes))]
    with pytest.raises(UserError, match=match):
        Ensemble(members, [0.5, 0.5])
    with pytest.raises(UserError, match=r"of models:/a/1 and .* of models:/b/2"):
        ensemble.check(members, ["models:/a/1", "models:/b/2"])


def test_round_trip_is_bit_equal(trio, make_images, tmp_path):
    weights = np.array([0.3, 0.7, 0.1])
    model = Ensemble(
        trio, (weights / weights.sum()).tolist(), strategy="f1_macro", thresholds={"前期": 0.25}, digest="b"
    ).eval()
    ensemble.save(model, tmp_path / "model")
    files = {path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*.*")}
    each = {f"{k}/{name}" for k in range(3) for name in ("model.json", "weights.safetensors")}
    assert files == {"ensemble.json"} | each
    loaded = ensemble.load(tmp_path / "model")
    images = make_images(2, 70, 80)
    assert loaded.spec == model.spec
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))


def test_a_classifier_is_saved_and_loaded_as_one(trio, tmp_path):
    ensemble.save(trio[0], tmp_path)
    loaded = ensemble.load(tmp_path)
    assert isinstance(loaded, classifier.Classifier)
    assert loaded.spec == trio[0].spec
    assert classifier.load(tmp_path).spec == trio[0].spec


def test_an_ensemble_is_not_a_single_classifier(trio, tmp_path):
    ensemble.save(Ensemble(trio[:2], [0.5, 0.5]), tmp_path)
    with pytest.raises(UserError, match=r"found an ensemble in .*; name one of its members"):
        classifier.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda told: told | {"version": 99}, "install a newer CellML"),
        (lambda told: told | {"colour": 1}, "colour"),
        (lambda told: {"version": 1}, "weights"),
        (lambda told: told | {"weights": [0.5, 0.6]}, "sum 1"),
        (lambda told: told | {"weights": [0.3, 0.3, 0.4]}, r"found no model\.json"),
        (lambda told: [1], "cannot be read so"),
    ],
)
def test_damaged_descriptions_are_user_errors(change, match, trio, tmp_path):
    ensemble.save(Ensemble(trio[:2], [0.5, 0.5]), tmp_path)
    file = tmp_path / "ensemble.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(UserError, match=match) as error:
        ensemble.load(tmp_path)
    assert "\n" not in str(error.value)
    file.write_text("<html>")
    with pytest.raises(UserError, match="cannot be read so"):
        ensemble.load(tmp_path)

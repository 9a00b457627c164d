from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from cellml.explain import background, baselines, curves, faithfulness, localisation, stability
from cellml.explain.base import Attribution, explain
from cellml.explain.faithfulness import Faithfulness, measure
from tests.explain.helpers import Linear, built, fit_head, noise, planted, wrapped


def figures(n=4, **changes):
    values = {f.name: np.linspace(0, 1, n) for f in fields(Faithfulness)}
    return Faithfulness(**{**values, **changes})


def test_every_figure_is_that_of_its_module():
    images, classes, masks = planted(6, 32, 8, seed=1)
    classifier = built("test_resnet", size=32, classes=2).eval()

    def again(x):
        found = explain("gradcam", classifier, x, classes)
        return replace(found, maps=np.sign(found.maps))

    masks[2] = False
    attribution = again(images)
    found = measure(classifier, images, attribution, masks, again, seed=5)
    maps, regions = attribution.maps, background.empty(images, classifier.spec, masks)
    deletion, insertion = curves.deletion_insertion(classifier, images, classes, maps, seed=5)
    np.testing.assert_array_equal(found.deletion, curves.area(deletion))
    np.testing.assert_array_equal(found.insertion, curves.area(insertion))
    np.testing.assert_array_equal(found.pointing, localisation.pointing(maps, masks, seed=5))
    np.testing.assert_array_equal(found.mass, localisation.mass(maps, masks))
    np.testing.assert_array_equal(found.background, background.share(maps, regions))
    np.testing.assert_array_equal(
        found.sensitivity, stability.sensitivity(maps, again, images, classifier.spec, seed=5)
    )
    np.testing.assert_array_equal(found.empty, regions.mean(axis=(1, 2)))
    assert np.isnan(found.pointing).tolist() == [False, False, True, False, False, False]
    assert (np.delete(found.sensitivity, 2) > 0).all()


def test_methods_beat_the_baselines_where_a_patch_decides():
    classifier = built("test_resnet", size=48, classes=2)
    fit_head(classifier, *planted(120, 48, 10, seed=3)[:2])
    images, classes, masks = planted(24, 48, 10, seed=2)
    maps = {
        "gradcam": explain("gradcam", classifier, images, classes),
        "random": baselines.random(classes, (48, 48)),
        "centre": baselines.centre(classes, (48, 48)),
        "perfect": Attribution(masks.astype(np.float32), classes, "perfect"),
        "inverted": Attribution(-masks.astype(np.float32), classes, "inverted"),
    }
    mean = {name: faithfulness.summary(measure(classifier, images, one, masks, steps=10)) for name, one in maps.items()}
    for good in ("gradcam", "perfect"):
        for bad in ("random", "centre", "inverted"):
            assert mean[good]["insertion"] > mean[bad]["insertion"] + 0.01
            assert mean[good]["deletion"] < mean[bad]["deletion"] - 0.03
            assert mean[good]["pointing_game"] > mean[bad].get("pointing_game", 0) + 0.3
            assert mean[good]["background"] < mean[bad]["background"] or bad == "inverted"
    assert mean["random"]["deletion"] < mean["inverted"]["deletion"]
    assert mean["random"]["insertion"] > mean["inverted"]["insertion"]
    assert mean["perfect"]["relevance_mass"] == 1
    assert abs(mean["random"]["relevance_mass"] - masks.mean()) < 0.01


def test_without_masks_and_without_explaining_again():
    classifier = wrapped(Linear(3, 12, 3), size=12)
    images = noise(3, 12) / 255
    found = measure(classifier, images, explain("occlusion", classifier, images, [0, 1, 2]))
    for name in ("pointing", "mass", "sensitivity", "background"):
        assert np.isnan(getattr(found, name)).all()
    assert set(faithfulness.summary(found)) == {"deletion", "insertion"}
    assert len(found) == 3


def test_rectangular_images_of_four_deep_channels():
    changes = {"dtype": "uint16", "low": (0.0,) * 4, "high": (65535.0,) * 4}
    classifier = built("test_resnet", channels=4, mean=(0.5,) * 4, std=(0.25,) * 4, **changes)
    images = noise(2, 32, channels=4, width=40) * 257
    found = measure(classifier, images, baselines.centre([0, 1], (32, 40)), np.ones((2, 32, 40), dtype=bool), steps=3)
    assert np.isfinite(found.deletion).all()
    assert found.mass.tolist() == [1, 1]


def test_the_same_again_and_the_random_states_untouched():
    classifier = built("test_resnet", size=24)
    images, maps = noise(2, 24), Attribution(np.zeros((2, 24, 24), np.float32), np.array([0, 1]), "none")
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = (measure(classifier, images, maps, seed=3, steps=4) for _ in range(2))
    np.testing.assert_array_equal(first.deletion, second.deletion)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert (measure(classifier, images, maps, seed=4, steps=4).deletion != first.deletion).any()


def test_summary_has_means_of_what_is_known():
    found = figures(
        pointing=np.array([1, np.nan, 0, 0]), mass=np.full(4, np.nan), deletion=np.array([0.1, 0.2, 0.3, 0.8])
    )
    mean = faithfulness.summary(found)
    assert set(mean) == {"deletion", "insertion", "pointing_game", "background", "sensitivity"}
    assert mean["pointing_game"] == pytest.approx(1 / 3)
    assert mean["deletion"] == pytest.approx(0.35)
    assert set(faithfulness.NAMES) == {f.name for f in fields(Faithfulness)} - {"empty"}
    assert set(faithfulness.NAMES.values()) > faithfulness.HIGHER_IS_BETTER


def test_joined_batches_are_one():
    first, second = figures(2), figures(3)
    whole = faithfulness.joined([first, second])
    assert len(whole) == 5
    for field in fields(Faithfulness):
        wanted = np.concatenate([getattr(part, field.name) for part in (first, second)])
        np.testing.assert_array_equal(getattr(whole, field.name), wanted)


def test_shapes_must_agree():
    classifier = wrapped(Linear(3, 12, 3), size=12)
    with pytest.raises(ValueError, match=r"maps and masks of \(2, 12, 12\)"):
        measure(classifier, noise(2, 12), baselines.centre([0, 1], (12, 12)), np.ones((2, 12, 11), dtype=bool))
    with pytest.raises(ValueError, match="one value an image"):
        replace(figures(4), mass=np.zeros(3))

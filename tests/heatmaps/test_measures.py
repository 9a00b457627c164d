from dataclasses import replace

import numpy as np
import pytest

from cellml.evaluation.predictions import Predictions
from cellml.explain import faithfulness, randomise
from cellml.heatmaps import measures
from cellml.heatmaps.measures import Measured, Sample
from cellml.heatmaps.subject import Subject
from cellml.models.ensemble import Ensemble


def of_targets(targets, classes=("a", "b", "c")):
    targets = np.array(targets)
    even = np.full((len(targets), len(classes)), 1 / len(classes))
    ids = np.array([f"i{n}" for n in range(len(targets))], dtype=object)
    return Predictions(ids, targets, even, ids, classes)


def test_the_sample_is_even_over_the_classes():
    predictions = of_targets([0] * 60 + [1] * 30 + [2] * 3)
    rows = measures.rows(predictions, 20)
    assert np.bincount(predictions.targets[rows]).tolist() == [9, 8, 3]
    assert len(set(rows)) == 20
    assert (measures.rows(predictions, 20) == rows).all()
    assert len(measures.rows(predictions, 1000)) == 93
    assert not len(measures.rows(predictions, 0))


def test_images_of_unknown_class_count_too():
    assert len(measures.rows(of_targets([-1] * 10), 4)) == 4


@pytest.fixture
def sample(classifier, dataset, rows, predictions):
    picked = measures.rows(predictions, 12)
    subject = Subject(classifier, dataset)
    return Sample(subject, subject.see(rows.where(picked)), predictions.predicted[picked])


def test_slow_figures_only_where_asked(sample):
    quick, thorough = sample.measure("gradcam", {}, False), sample.measure("gradcam", {}, True)
    assert set(quick.summary()) == {"deletion", "insertion", "pointing_game", "relevance_mass", "background"}
    assert set(thorough.summary()) == {*quick.summary(), "sensitivity", "randomisation"}
    assert np.isfinite(thorough.figures.sensitivity).sum() == measures.THOROUGH
    assert thorough.summary().items() >= quick.summary().items()


def test_options_reach_the_method(sample):
    coarse, fine = (sample.measure("occlusion", {"patch": p, "stride": p}, False) for p in (0.5, 0.25))
    assert not np.array_equal(coarse.attribution.maps, fine.attribution.maps)


def test_baselines_look_at_no_model(sample):
    found = sample.baselines()
    assert set(found) == {"random", "centre"}
    assert found["random"].figures.mass == pytest.approx(sample.masks.mean(axis=(1, 2)), abs=0.05)


def test_maps_like_those_of_random_weights_are_warned_of(sample):
    measured = sample.measure("gradcam", {}, False)
    alike = Measured(measured.attribution, None, randomise.LIMIT + 0.1)
    assert "more than the model" in alike.warnings("gradcam")[0]
    assert not Measured(measured.attribution, None, randomise.LIMIT - 0.1).warnings("gradcam")


def test_an_ensemble_of_several_views_is_explained_and_not_scored(make, dataset, rows):
    subject = Subject(Ensemble([make(0), make(1, size=40, crop=28)], [0.5, 0.5]), dataset)
    classes = np.zeros(4, dtype=np.int64)
    sample = Sample(subject, subject.see(rows.where(np.arange(4))), classes)
    measured = sample.measure("occlusion", {}, True)
    assert len(measured.attribution) == 4
    assert measured.summary() == {}
    assert sample.baselines() == {}


def test_an_ensemble_of_one_view_is_scored(make, dataset, rows):
    subject = Subject(Ensemble([make(0), make(1)], [0.5, 0.5]), dataset)
    sample = Sample(subject, subject.see(rows.where(np.arange(4))), np.zeros(4, dtype=np.int64))
    assert {"deletion", "insertion"} <= set(sample.measure("occlusion", {}, True).summary())


def test_slopes_are_scored_by_size(sample):
    signed = sample.seen.explain("saliency", sample.classes)
    assert (signed.maps < 0).any()
    size = replace(signed, maps=np.abs(signed.maps))
    expected = faithfulness.measure(sample.network, sample.seen.prepared, size, sample.masks)
    scored = sample.measure("saliency", {}, False)
    np.testing.assert_array_equal(scored.figures.deletion, expected.deletion)
    np.testing.assert_array_equal(scored.attribution.maps, signed.maps)

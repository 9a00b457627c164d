import numpy as np
import pytest
import torch

from cellml.data import offline
from cellml.sampling.base import Sample, TrainingRows
from cellml.training import synthesis


@pytest.fixture(params=[np.uint8, np.uint16])
def pixels(request):
    high = np.iinfo(request.param).max
    return np.random.default_rng(0).integers(0, high, (4, 6, 5, 2), dtype=request.param)


@pytest.fixture
def rows():
    soft = np.array([[1, 0], [1, 0], [0, 1], [0.25, 0.75]])
    return TrainingRows(np.array(list("abcd"), dtype=object), soft.argmax(1), np.array(list("gghh")), ("A", "B"), soft)


def sample(**values):
    return Sample(**({"rows": np.array([0, 2, 1, 3]), "weights": np.ones(4, dtype=np.float32)} | values))


BLEND = {"partners": np.array([0, 3, 1, 3]), "mix": np.array([0, 0.25, 0, 0], dtype=np.float32)}
CHANGE = {"transforms": np.array([0, 0, 2, 4], dtype=np.int8), "seed": 5}


def test_a_blend_is_the_weighted_mean_of_two_images_rounded(pixels):
    (made,) = synthesis.images(pixels, sample(**BLEND))
    assert made.dtype == pixels.dtype
    expected = 0.75 * pixels[2].astype(np.float64) + 0.25 * pixels[3].astype(np.float64)
    assert np.abs(made - expected).max() <= 0.5 + 1e-2


def test_changes_and_blends_come_in_the_sample_s_order(pixels):
    of = sample(**BLEND, **CHANGE)
    made = synthesis.images(pixels, of)
    assert len(made) == 3
    assert np.array_equal(made[0], synthesis.images(pixels, sample(**BLEND))[0])
    changed = offline.transform(pixels[of.rows], of.transforms, 5)
    assert np.array_equal(made[1:], changed[2:])
    places, others = synthesis.changed(pixels, of)
    assert places.tolist() == [2, 3]
    assert np.array_equal(others, changed[2:])


def test_extended_arrays_hold_what_the_sample_describes(pixels, rows):
    labels = torch.from_numpy(rows.soft_targets).float()
    of = sample(**BLEND, **CHANGE)
    more, targets, plain = synthesis.extended(pixels, labels, of, rows)
    assert np.array_equal(more[:4], pixels)
    assert plain.rows.tolist() == [0, 4, 5, 6]
    assert not plain.synthetic.any()
    assert np.array_equal(more[plain.rows[1:]], synthesis.images(pixels, of))
    torch.testing.assert_close(targets[plain.rows], torch.from_numpy(of.targets(rows)).float())
    torch.testing.assert_close(targets[4], torch.tensor([0.0625, 0.9375]))


def test_without_synthetic_rows_nothing_is_copied(pixels, rows):
    labels, of = torch.zeros(4, 2), sample()
    more, targets, plain = synthesis.extended(pixels, labels, of, rows)
    assert more is pixels
    assert targets is labels
    assert plain is of
    assert synthesis.strips(pixels, of, rows) == []


def test_strips_show_what_was_made_of_what(pixels, rows):
    shown = synthesis.strips(pixels, sample(**BLEND, **CHANGE), rows)
    assert [len(images) for _, images in shown] == [3, 2, 2]
    caption, images = shown[0]
    assert caption == "B | made, 25% of the right one | A:B 1:3"
    assert np.array_equal(images[0], pixels[2])
    assert np.array_equal(images[2], pixels[3])


def test_strips_of_blended_embeddings_show_the_parents_alone(pixels, rows):
    (caption, images), *changed = synthesis.strips(pixels, sample(**BLEND, **CHANGE), rows, blend=False)
    assert caption == "B | between them, 25% of the right one | A:B 1:3"
    assert len(images) == 2
    assert [caption for caption, _ in changed] == ["A | changed", "A:B 1:3 | changed"]


def test_strips_make_no_more_images_than_they_show(pixels, rows, monkeypatch):
    made = []
    monkeypatch.setattr(synthesis.offline, "transform", lambda images, *_: made.append(len(images)) or images)
    of = Sample(np.zeros(500, dtype=int), np.ones(500, dtype=np.float32), transforms=np.ones(500, dtype=np.int8))
    assert len(synthesis.strips(pixels, of, rows, count=5)) == 5
    assert made == [5]

import numpy as np
import pandas as pd
import pytest

from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions
from tests.evaluation import helpers

FIELDS = ("ids", "targets", "probabilities", "groups")


@pytest.mark.parametrize("soft", [False, True])
def test_what_is_saved_comes_back(tmp_path, soft):
    p = helpers.make(30, ("CD4+", "G2/M", ""), groups=4)
    targets = np.where(np.arange(30) < 5, -1, p.targets % 2)
    p = Predictions(p.ids, targets, p.probabilities, p.groups, ("CD4+", "G2/M", "x"), p.probabilities if soft else None)
    p.save(tmp_path / "p.parquet")
    back = Predictions.load(tmp_path / "p.parquet")
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(back, field), getattr(p, field))
    assert back.classes == p.classes
    if soft:
        np.testing.assert_array_equal(back.soft_targets, p.soft_targets)
    else:
        assert back.soft_targets is None


def test_another_parquet_file_is_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="Expected predictions written by CellML"):
        Predictions.load(tmp_path / "other.parquet")


def test_rows_are_chosen_by_mask_or_position():
    p = helpers.make(6)
    assert p.where([5, 0]).ids.tolist() == ["image5", "image0"]
    mask = p.targets == p.targets[0]
    np.testing.assert_array_equal(p.where(mask).probabilities, p.probabilities[mask])


def test_labelled_leaves_unknown_targets_out():
    p = helpers.given([0, -1, 1], np.full((3, 2), 0.5))
    assert p.labelled.ids.tolist() == ["0", "2"]
    assert p.labelled.labelled is not p
    full = helpers.make(4)
    assert full.labelled is full


def test_truth_is_the_soft_label_or_ones_and_zeros():
    p = helpers.given([1, -1], [[0.5, 0.5], [0.1, 0.9]])
    assert p.truth.tolist() == [[0, 1], [0, 0]]
    wanted = [[0.25, 0.75], [0.5, 0.5]]
    assert helpers.given([1, -1], p.probabilities, soft_targets=wanted).truth.tolist() == wanted


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2\), got \(2, 3\)"):
        helpers.given([0, 1], np.ones((2, 3)) / 3, classes=("a", "b"))


def test_frames_of_movies_are_saved_and_chosen_with_their_place(tmp_path):
    table = pd.DataFrame({"id": list("abc"), "label": ["x", "", "y"], "sequence": ["s", "s", "t"], "frame": [0, 1, 0]})
    table = table.assign(file="f", group="g", split="", pixels="", row=-1)
    p = Predictions.of(Manifest(table, ("x", "y")), np.array([[2.0, 2], [1, 3], [0, 1]], dtype=np.float32))
    p.save(tmp_path / "p.parquet")
    back = Predictions.load(tmp_path / "p.parquet").where([2, 1])
    assert back.probabilities.tolist() == [[0, 1], [0.25, 0.75]]
    assert (back.targets.tolist(), back.sequences.tolist(), back.frames.tolist()) == ([1, -1], ["t", "s"], [0, 1])

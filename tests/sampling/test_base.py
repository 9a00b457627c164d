import numpy as np
import pandas as pd
import pytest

from cellml.data.manifest import SOFT, Manifest
from cellml.errors import UserError
from cellml.sampling.base import Sample, TrainingRows


def rows(**changes):
    values = {
        "ids": np.array(["a", "b", "c"], dtype=object),
        "targets": np.array([0, 1, 1]),
        "groups": np.array(["g", "g", "h"], dtype=object),
        "classes": ("A", "B", "C"),
    }
    return TrainingRows(**{**values, **changes})


def manifest(*splits, soft=False):
    n = len(splits)
    table = pd.DataFrame({"id": [f"cell {i}" for i in range(n)], "label": ["B", "A"] * (n // 2), "split": splits})
    table = table.assign(file="", group="g", pixels="", row=0)
    if soft:
        table[SOFT + "A"], table[SOFT + "B"] = 0.25, 0.75
    return Manifest(table, ("A", "B"))


def test_counts_include_empty_classes():
    assert rows().counts.tolist() == [1, 2, 0]
    assert rows().num_classes == 3
    assert len(rows()) == 3


def test_rows_of_a_manifest():
    found = TrainingRows.of(manifest("train", "val"), {"pixels": lambda: np.ones((2, 3))})
    assert found.ids.tolist() == ["cell 0", "cell 1"]
    assert found.targets.tolist() == [1, 0]
    assert found.groups.tolist() == ["g", "g"]
    assert found.classes == ("A", "B")
    assert found.soft_targets is None
    assert found.space("pixels").shape == (2, 3)
    assert TrainingRows.of(manifest("train", "train", soft=True)).soft_targets.tolist() == [[0.25, 0.75]] * 2


def test_test_rows_are_refused():
    with pytest.raises(UserError, match="got 1 rows of the test split"):
        TrainingRows.of(manifest("train", "test"))


def test_labels_are_ones_and_zeros_or_the_soft_ones():
    assert rows().labels.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    soft = np.array([[1.0, 0, 0], [0, 0.5, 0.5], [0, 1, 0]])
    assert rows(soft_targets=soft).labels is soft


def test_a_space_is_computed_once():
    calls = []

    def compute():
        calls.append(1)
        return np.arange(6.0).reshape(3, 2)

    given = rows(spaces={"pixels": compute})
    assert given.space("pixels") is given.space() is given.space(None)
    assert given.space().dtype == np.float32
    assert len(calls) == 1


def test_embeddings_come_before_pixels():
    spaces = {"pixels": lambda: np.zeros((3, 1)), "embeddings": lambda: np.ones((3, 1))}
    assert rows(spaces=spaces).space()[0, 0] == 1
    assert rows(spaces=spaces).space("pixels")[0, 0] == 0


def test_a_missing_space_is_a_user_error():
    with pytest.raises(UserError, match=r"got 'pixels'.*set sampling.embeddings or model.weights, or space: pixels"):
        rows().space()
    with pytest.raises(UserError, match=r"got 'embeddings'.*known: pixels"):
        rows(spaces={"pixels": lambda: np.zeros((3, 1))}).space("embeddings")


def test_impossible_features_are_refused():
    with pytest.raises(ValueError, match="N = 3"):
        rows(spaces={"pixels": lambda: np.ones((2, 8))}).space()
    with pytest.raises(UserError, match="finite embeddings"):
        rows(spaces={"embeddings": lambda: np.array([[0.0], [np.nan], [1.0]])}).space()


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ([1, 0, 0], "A"),
        ([0, 0, 1], "C"),
        ([1 / 3, 2 / 3, 0], "A:B 1:2"),
        ([0.333, 0.667, 0], "A:B 1:2"),
        ([0, 0.75, 0.25], "B:C 3:1"),
        ([0.5, 0, 0.5], "A:C 1:1"),
        ([0.2, 0.2, 0.6], "A:B:C 1:1:3"),
        ([0.25, 0.25, 0.5], "A:B:C 1:1:2"),
        ([0.95, 0.05, 0], "A:B 19:1"),
        ([0.99, 0.01, 0], "A:B 99:1"),
    ],
)
def test_kinds_are_named_by_their_ratio(label, kind):
    soft = np.array([label, [0, 1, 0], label], dtype=np.float64)
    assert rows(soft_targets=soft).kinds.tolist() == [kind, "B", kind]


def test_kinds_of_hard_labels_are_classes():
    assert rows().kinds.tolist() == ["A", "B", "B"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"targets": np.array([0, 1])}, "3 targets"),
        ({"targets": np.array([0, 1, 3])}, "from 0 to 2"),
        ({"targets": np.array([-1, 1, 1])}, "from 0 to 2"),
        ({"ids": np.array(["a", "a", "c"], dtype=object)}, "unique"),
        ({"soft_targets": np.ones((3, 2))}, "shape"),
    ],
)
def test_inconsistent_rows_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        rows(**changes)


@pytest.mark.parametrize("bad", [[0.5, 0.6, 0.0], [1.2, -0.2, 0.0], [np.nan, 1.0, 0.0]])
def test_impossible_label_probabilities_are_a_user_error(bad):
    soft = np.array([[1.0, 0.0, 0.0], bad, [0.0, 0.5, 0.5]])
    with pytest.raises(UserError, match=r"sum to 1, got .* for 'b' \(1 such rows\)"):
        rows(soft_targets=soft)


def test_no_rows_is_a_user_error():
    empty = np.array([], dtype=object)
    with pytest.raises(UserError, match="training rows, got none"):
        rows(ids=empty, targets=np.array([], dtype=np.int64), groups=empty)


def test_sample_counts_repeats_and_expected_draws():
    sample = Sample(np.array([0, 0, 2]), np.ones(3, dtype=np.float32))
    assert sample.counts(rows()).tolist() == [2, 1, 0]
    drawn = Sample(np.array([0, 1, 2]), np.ones(3, dtype=np.float32), draw=np.array([0.5, 0.5, 0.0]))
    assert drawn.counts(rows()).tolist() == [1.5, 1.5, 0]


@pytest.fixture
def blend():
    """Row 0, row 1 with a quarter of row 2, and row 2 changed offline."""
    return Sample(
        rows=np.array([0, 1, 2]),
        weights=np.ones(3, dtype=np.float32),
        partners=np.array([0, 2, 2]),
        mix=np.array([0, 0.25, 0], dtype=np.float32),
        transforms=np.array([0, 0, 4], dtype=np.int8),
    )


def test_synthetic_items_are_blended_or_changed_ones(blend):
    assert blend.synthetic.tolist() == [False, True, True]
    assert not Sample(np.array([0, 0]), np.ones(2, dtype=np.float32)).synthetic.any()


def test_features_are_interpolated(blend):
    x = np.array([[0, 1], [4, 8], [8, 0]], dtype=np.float32)
    before = x.copy()
    found = blend.features(x)
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 1], [5, 6], [8, 0]]
    np.testing.assert_array_equal(x, before)


def test_soft_labels_are_interpolated_and_hard_ones_are_not(blend):
    assert blend.targets(rows()).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    soft = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0.2, 0.8]])
    found = blend.targets(rows(soft_targets=soft))
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 0.8, 0.2], [0, 0.2, 0.8]])
    assert found.dtype == np.float64

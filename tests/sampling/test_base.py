import numpy as np
import pytest

from cellml.errors import UserError
from cellml.sampling.base import Sample, TrainingRows


def rows(**changes):
    values = {
        "ids": np.array(["a", "b", "c"], dtype=object),
        "targets": np.array([0, 1, 1]),
        "groups": np.array(["g", "g", "h"], dtype=object),
        "num_classes": 3,
    }
    return TrainingRows(**{**values, **changes})


def test_counts_include_empty_classes():
    assert rows().counts.tolist() == [1, 2, 0]
    assert len(rows()) == 3


def test_sample_counts_repeats_and_expected_draws():
    sample = Sample(np.array([0, 0, 2]), np.ones(3, dtype=np.float32))
    assert sample.counts(rows()).tolist() == [2, 1, 0]
    drawn = Sample(np.array([0, 1, 2]), np.ones(3, dtype=np.float32), draw=np.array([0.5, 0.5, 0.0]))
    assert drawn.counts(rows()).tolist() == [1.5, 1.5, 0]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"targets": np.array([0, 1])}, "3 targets"),
        ({"targets": np.array([0, 1, 3])}, "from 0 to 2"),
        ({"targets": np.array([-1, 1, 1])}, "from 0 to 2"),
        ({"ids": np.array(["a", "a", "c"], dtype=object)}, "unique"),
        ({"soft_targets": np.ones((3, 2))}, "shape"),
        ({"features": np.ones((2, 8))}, "features"),
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

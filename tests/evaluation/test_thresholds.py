import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from cellml.errors import UserError
from cellml.evaluation import thresholds
from tests.evaluation import helpers


def quality(p, threshold, rare):
    said = np.where(p.probabilities[:, rare] >= threshold, rare, 1 - rare)
    return oracle.balanced_accuracy_score(p.targets, said)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), min_size=2, max_size=20))
def test_no_threshold_is_better(rows):
    targets, scores = np.array(rows).T
    if len(set(targets)) < 2:
        return
    p = helpers.given(targets, np.column_stack([scores, 10 - scores]) / 10)
    ((name, threshold),) = thresholds.operating_threshold(p).items()
    counts = np.bincount(targets)
    rare = 0 if counts[0] < counts[1] else 1
    assert name == "ab"[rare]
    assert 0 <= threshold <= 1
    best = max(quality(p, t, rare) for t in np.arange(12) / 10 - 0.05)
    assert quality(p, threshold, rare) == pytest.approx(best)
    told = oracle.balanced_accuracy_score(targets, thresholds.predicted(p, {name: threshold}))
    assert told == pytest.approx(best)


def test_the_threshold_lies_half_way_between_the_classes():
    p = helpers.given([0, 0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    assert thresholds.operating_threshold(p) == {"b": pytest.approx(0.35)}
    assert thresholds.predicted(p, {"b": 0.35}).tolist() == [0, 0, 0, 1]
    assert thresholds.predicted(p, {}).tolist() == [0, 0, 0, 0]


def test_neighbouring_floats_are_still_told_apart():
    upper = np.nextafter(0.5, 1)
    p = helpers.given([0, 0, 1], [[0.5, 0.5], [0.5, 0.5], [1 - upper, upper]])
    assert quality(p, thresholds.operating_threshold(p)["b"], 1) == 1


def test_rows_of_unknown_target_do_not_count():
    p = helpers.given([0, 0, 1, -1], [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.9, 0.1]])
    assert thresholds.operating_threshold(p) == {"b": pytest.approx(0.3)}


def test_one_class_only_keeps_one_half():
    assert thresholds.operating_threshold(helpers.given([1, 1], [[0.1, 0.9], [0.2, 0.8]])) == {"a": 0.5}


def test_other_numbers_of_classes_have_no_threshold():
    assert thresholds.operating_threshold(helpers.make(30, "abc")) == {}


@pytest.mark.parametrize(
    ("classes", "given", "message"),
    [("ab", {"c": 0.5}, "got 'c'"), ("abc", {"a": 0.5}, "got 1 and 3"), ("ab", {"a": 0.5, "b": 0.5}, "got 2 and 2")],
)
def test_thresholds_that_do_not_fit_are_refused(classes, given, message):
    with pytest.raises(UserError, match=message):
        thresholds.predicted(helpers.make(5, classes), given)

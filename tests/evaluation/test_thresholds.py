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


def test_one_class_has_no_threshold():
    assert thresholds.operating_threshold(helpers.given([0, 0], [[1.0], [1.0]])) == {}


def recall_sum(p, cuts):
    said = thresholds.predicted(p, dict(zip(p.classes, cuts, strict=True)))
    return sum((said == p.targets)[p.targets == k].mean() for k in np.unique(p.targets))


@settings(max_examples=300, deadline=None)
@given(
    st.integers(3, 4).flatmap(
        lambda k: st.lists(
            st.tuples(st.integers(0, k - 1), st.lists(st.integers(0, 6), min_size=k, max_size=k)),
            min_size=1,
            max_size=9,
        )
    )
)
def test_no_move_of_one_threshold_is_better_than_those_of_several_classes(rows):
    targets, shares = zip(*rows, strict=True)
    p = np.array(shares, dtype=float)
    p[p.sum(1) == 0] = 1
    p = helpers.given(targets, p / p.sum(1, keepdims=True))
    found = thresholds.operating_threshold(p)
    assert list(found) == list(p.classes)
    cuts = np.array(list(found.values()))
    assert cuts.sum() == pytest.approx(1)
    assert (cuts > 0).all()
    best = recall_sum(p, cuts)
    assert best >= recall_sum(p, np.full(len(cuts), 1 / len(cuts))) - 1e-9
    for k in np.unique(p.targets):
        for factor in np.geomspace(1e-4, 1e4, 60):
            moved = cuts.copy()
            moved[k] *= factor
            assert recall_sum(p, moved) <= best + 1e-9


@pytest.mark.parametrize("rows", [[(2, [4, 5, 6]), (0, [4, 6, 1])], [(1, [6, 0, 2]), (2, [3, 1, 1])]])
def test_rows_that_only_rounding_tells_apart_are_not_told_apart(rows):
    targets, shares = zip(*rows, strict=True)
    p = np.array(shares, dtype=float)
    p = helpers.given(targets, p / p.sum(1, keepdims=True))
    cuts = np.array(list(thresholds.operating_threshold(p).values()))
    moves = [cuts * np.where(np.arange(3) == k, f, 1) for k in set(targets) for f in np.geomspace(1e-4, 1e4, 60)]
    assert max(recall_sum(p, moved) for moved in [np.full(3, 1 / 3), *moves]) <= recall_sum(p, cuts)


def test_a_third_class_that_never_competes_leaves_the_two_class_optimum():
    two = helpers.make(60, "ab", seed=4, sharp=0.5)
    p = helpers.given(two.targets, np.column_stack([two.probabilities * 0.999, np.full(60, 0.001)]))
    found = thresholds.operating_threshold(p)
    single = thresholds.operating_threshold(two)
    expected = oracle.recall_score(two.targets, thresholds.predicted(two, single), average="macro")
    told = thresholds.predicted(p, found)
    assert oracle.recall_score(p.targets, told, average="macro", labels=[0, 1]) == pytest.approx(expected)


def test_thresholds_of_several_classes_lift_a_class_that_is_always_second():
    p = helpers.given([0, 0, 1, 2], [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]])
    assert oracle.balanced_accuracy_score(p.targets, p.predicted) == pytest.approx(2 / 3)
    told = thresholds.predicted(p, thresholds.operating_threshold(p))
    assert told.tolist() == [0, 0, 1, 2]


def test_a_class_without_rows_is_not_tuned_and_perfect_rows_change_nothing():
    p = helpers.given([0, 1, 0], [[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.6, 0.2, 0.2]])
    assert thresholds.operating_threshold(p) == pytest.approx(dict.fromkeys("abc", 1 / 3))
    unknown = helpers.given([-1, -1], [[0.8, 0.1, 0.1], [0.3, 0.5, 0.2]])
    assert thresholds.operating_threshold(unknown) == pytest.approx(dict.fromkeys("abc", 1 / 3))


def test_probabilities_of_zero_and_one_are_no_trouble():
    p = helpers.given([0, 1, 2, 1], [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]])
    with np.errstate(all="raise"):
        found = thresholds.operating_threshold(p)
    assert all(0 < t < 1 for t in found.values())


def test_two_classes_with_t_and_its_complement_are_the_single_threshold():
    p = helpers.make(200, "ab", seed=1)
    for t in (0.1, 0.5, 0.83):
        both = thresholds.predicted(p, {"b": t, "a": 1 - t})
        np.testing.assert_array_equal(both, thresholds.predicted(p, {"b": t}))


def test_ten_classes_of_4000_rows_gain():
    p = helpers.make(4000, "abcdefghij", sharp=1)
    cuts = thresholds.operating_threshold(p)
    assert recall_sum(p, list(cuts.values())) > recall_sum(p, [0.1] * 10)


@pytest.mark.parametrize(
    ("classes", "given", "message"),
    [
        ("ab", {"c": 0.5}, "got 'c'"),
        ("abc", {"a": 0.5}, "got 1 for 3 classes"),
        ("ab", {"a": 0.0, "b": 0.5}, "above 0"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(classes, given, message):
    with pytest.raises(UserError, match=message):
        thresholds.predicted(helpers.make(5, classes), given)

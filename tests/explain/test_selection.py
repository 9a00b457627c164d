import numpy as np
import pytest

from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions
from cellml.explain.selection import BORDERLINE, FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE, groups, select


def predictions(targets, p):
    n = len(targets)
    p = np.asarray(p, dtype=np.float64)
    names = np.array([f"i{k}" for k in range(n)], dtype=object)
    return Predictions(names, np.asarray(targets, dtype=np.int64), np.stack([1 - p, p], axis=1), names, ("neg", "pos"))


@pytest.fixture
def mixed():
    rng = np.random.default_rng(0)
    return predictions(rng.integers(0, 2, 400), rng.random(400))


def kinds(given, rows, k=1):
    own, said = given.targets[rows] == k, given.predicted[rows] == k
    return np.select([own & said, own & ~said, ~own & said], ["right", "missed", "alarm"], "neither")


def test_a_quarter_each_in_order(mixed):
    rows = select(mixed, 1, 32)
    assert kinds(mixed, rows).tolist() == ["right"] * 16 + ["missed"] * 8 + ["alarm"] * 8
    p = mixed.probabilities[:, 1]
    right = np.sort(p[(mixed.targets == 1) & (mixed.predicted == 1)])[::-1]
    np.testing.assert_array_equal(p[rows[:8]], right[:8])
    np.testing.assert_array_equal(p[rows[8:16]], right[-8:])
    for part in (rows[16:24], rows[24:]):
        assert (np.diff(p[part]) <= 0).all()


def test_groups_say_which_is_which(mixed):
    named = groups(mixed, 1)
    expected = [TRUE_POSITIVE] * 8 + [BORDERLINE] * 8 + [FALSE_NEGATIVE] * 8 + [FALSE_POSITIVE] * 8
    assert named[select(mixed, 1, 32)].tolist() == expected
    p, own, said = mixed.probabilities[:, 1], mixed.targets == 1, mixed.predicted == 1
    assert p[named == TRUE_POSITIVE].min() >= p[named == BORDERLINE].max()
    np.testing.assert_array_equal(np.isin(named, [TRUE_POSITIVE, BORDERLINE]), own & said)
    np.testing.assert_array_equal(named == FALSE_NEGATIVE, own & ~said)
    np.testing.assert_array_equal(named == FALSE_POSITIVE, ~own & said)
    assert set(named[~own & ~said]) == {""}


def test_two_classes_mirror_each_other(mixed):
    first, second = groups(mixed, 0), groups(mixed, 1)
    np.testing.assert_array_equal(first == FALSE_NEGATIVE, second == FALSE_POSITIVE)


def test_without_any_known_class_those_taken_for_it_are_shown():
    given = predictions([-1] * 6, [0.9, 0.1, 0.8, 0.2, 0.7, 0.6])
    rows = select(given, 1, 3)
    assert set(rows.tolist()) <= {0, 2, 4, 5}
    assert len(rows) == 3
    assert set(groups(given, 1)[rows]) == {"unknown"}


def test_same_seed_same_rows_other_seed_other_mistakes(mixed):
    np.testing.assert_array_equal(select(mixed, 1, 32, seed=3), select(mixed, 1, 32, seed=3))
    first, second = select(mixed, 1, 32, seed=3), select(mixed, 1, 32, seed=4)
    np.testing.assert_array_equal(first[:16], second[:16])
    assert set(first[16:]) != set(second[16:])


@pytest.mark.parametrize("count", [0, 1, 3, 7, 32, 1000])
def test_never_twice_and_as_many_as_there_are(mixed, count):
    rows = select(mixed, 0, count)
    about = (mixed.targets == 0) | (mixed.predicted == 0)
    assert len(set(rows.tolist())) == len(rows) == min(count, about.sum())
    assert about[rows].all()


def test_a_missing_group_leaves_room_to_the_others():
    given = predictions([1] * 10 + [0] * 10, [0.9] * 10 + [0.1] * 10)
    assert kinds(given, select(given, 1, 8)).tolist() == ["right"] * 8


def test_an_empty_class_and_unknown_targets():
    assert len(select(predictions([0, 0, -1], [0.1, 0.2, 0.9]), 1, 8)) == 0


def test_a_class_that_does_not_exist(mixed):
    for ask in (lambda: select(mixed, 2, 8), lambda: groups(mixed, 2)):
        with pytest.raises(UserError, match="from 0 to 1, got 2"):
            ask()

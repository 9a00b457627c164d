import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler

from cellml.errors import UserError
from cellml.sampling.strategies import resample
from tests.sampling.helpers import mixtures, same, state, training


def test_none_is_every_row_once():
    sample = resample("none", {}, training(50, 20, 5), 0)
    assert sample.rows.tolist() == list(range(75))
    assert (sample.weights == 1).all()
    assert sample.draw is None


def test_random_over_is_imbalanced_learns():
    rows = training(50, 20, 0, 5)
    sample = resample("random_over", {}, rows, 3)
    peer = RandomOverSampler(random_state=state(3))
    peer.fit_resample(np.arange(75)[:, None], rows.targets)
    assert sample.rows.tolist() == peer.sample_indices_.tolist()
    assert sample.counts(rows).tolist() == [50, 50, 0, 50]
    assert set(sample.rows.tolist()) == set(range(75))
    assert resample("random_over", {"ratio": 0.5}, rows, 3).counts(rows).tolist() == [50, 25, 0, 25]
    assert resample("random_over", {"target": ["D"]}, rows, 3).counts(rows).tolist() == [50, 20, 0, 50]


def test_random_under_is_imbalanced_learns():
    rows = training(50, 20, 0, 5)
    sample = resample("random_under", {}, rows, 3)
    peer = RandomUnderSampler(random_state=state(3))
    peer.fit_resample(np.arange(75)[:, None], rows.targets)
    assert sample.rows.tolist() == sorted(peer.sample_indices_.tolist())
    assert sample.counts(rows).tolist() == [5, 5, 0, 5]
    assert len(set(sample.rows.tolist())) == len(sample)
    assert resample("random_under", {"ratio": 0.25}, rows, 3).counts(rows).tolist() == [20, 20, 0, 5]
    assert resample("random_under", {"target": ["A"]}, rows, 3).counts(rows).tolist() == [5, 20, 0, 5]


@pytest.mark.parametrize("strategy", ["random_over", "random_under"])
def test_other_seeds_choose_other_rows(strategy):
    rows = training(50, 20, 5)
    assert not same(resample(strategy, {}, rows, 0), resample(strategy, {}, rows, 1))


def test_the_smallest_class_is_changed_offline():
    rows = training(50, 20, 5)
    sample = resample("augment_minority", {}, rows, 0)
    smallest = np.flatnonzero(rows.targets == 2)
    assert sample.rows[:75].tolist() == list(range(75))
    assert not sample.synthetic[:75].any()
    assert sample.rows[75:].tolist() == np.repeat(smallest, 4).tolist()
    assert sample.transforms[75:].tolist() == [1, 2, 3, 4] * 5
    assert sample.seed != resample("augment_minority", {}, rows, 1).seed
    more = resample("augment_minority", {"factor": 6}, rows, 0)
    assert more.transforms[75:81].tolist() == [1, 2, 3, 4, 1, 2]
    assert more.counts(rows).tolist() == [50, 20, 35]


def test_which_classes_are_changed_offline():
    assert resample("augment_minority", {}, training(9, 9), 0).counts(training(9, 9)).tolist() == [9, 9]
    tied = training(9, 3, 0, 3)
    assert resample("augment_minority", {"factor": 2}, tied, 0).counts(tied).tolist() == [9, 9, 0, 9]
    chosen = {"factor": 1, "target": ["A"]}
    assert resample("augment_minority", chosen, tied, 0).counts(tied).tolist() == [18, 3, 0, 3]


def test_pure_leaves_out_mixtures():
    rows = mixtures()
    sample = resample("pure", {}, rows, 0)
    np.testing.assert_array_equal(sample.rows, np.flatnonzero(rows.soft_targets.max(1) == 1))
    assert len(sample) == 36
    assert len(resample("pure", {}, training(5, 3), 0)) == 8


def test_mixtures_alone_have_nothing_pure():
    with pytest.raises(UserError, match="got mixed ones only"):
        resample("pure", {}, training(5, 3, soft=True), 0)

from dataclasses import replace

import numpy as np
import pytest
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE

from cellml.errors import UserError
from cellml.sampling.base import Sample
from cellml.sampling.interpolate import points
from cellml.sampling.strategies import resample
from tests.sampling.helpers import mixtures, state, training

PEERS = {
    "smote": SMOTE,
    "borderline_smote_1": BorderlineSMOTE,
    "borderline_smote_2": lambda **options: BorderlineSMOTE(kind="borderline-2", **options),
    "adasyn": ADASYN,
}
every = pytest.mark.parametrize("strategy", list(PEERS))


@every
@pytest.mark.parametrize("counts", [(60, 30, 12, 25), (40, 15), (50, 0, 9)])
@pytest.mark.parametrize("seed", [3, 4])
def test_items_are_imbalanced_learns(strategy, counts, seed):
    rows = training(*counts)
    x = rows.space().astype(np.float64)
    expected, labels = PEERS[strategy](random_state=state(seed)).fit_resample(x, rows.targets)
    sample = resample(strategy, {}, rows, seed)
    np.testing.assert_allclose(sample.features(x), expected, atol=1e-6)
    np.testing.assert_array_equal(rows.targets[sample.rows], labels)
    assert sample.synthetic.sum() == len(labels) - len(rows) > 0
    assert sample.notes == ()


@every
def test_options_are_imbalanced_learns(strategy):
    rows = training(60, 30, 12)
    x = rows.space("pixels").astype(np.float64)
    renamed = {"n_neighbors": 3} if strategy == "adasyn" else {"k_neighbors": 3}
    peer = PEERS[strategy](random_state=state(0), sampling_strategy={2: 30}, **renamed)
    expected, _ = peer.fit_resample(x, rows.targets)
    sample = resample(strategy, {"k": 3, "ratio": 0.5, "space": "pixels", "target": ["C"]}, rows, 0)
    np.testing.assert_allclose(sample.features(x), expected, atol=1e-6)


@pytest.mark.parametrize("strategy", ["borderline_smote_1", "borderline_smote_2"])
def test_danger_is_told_by_m_neighbours(strategy):
    rows = training(60, 30)
    x = rows.space().astype(np.float64)
    expected, _ = PEERS[strategy](random_state=state(0), m_neighbors=4).fit_resample(x, rows.targets)
    np.testing.assert_allclose(resample(strategy, {"m": 4}, rows, 0).features(x), expected, atol=1e-6)


@every
def test_real_rows_come_first_and_parents_are_told(strategy):
    rows = training(60, 30, 12)
    sample = resample(strategy, {}, rows, 0)
    assert sample.rows[: len(rows)].tolist() == list(range(len(rows)))
    assert (sample.mix[: len(rows)] == 0).all()
    new = np.flatnonzero(sample.synthetic)
    assert (sample.mix[new] < 1).all()
    assert (sample.rows[new] != sample.partners[new]).all()
    alike = rows.targets[sample.rows[new]] == rows.targets[sample.partners[new]]
    assert (sample.mix[new][alike] <= 0.5).all()
    if strategy == "borderline_smote_2":
        assert not alike.all()
        assert (sample.mix[new][~alike] <= 0.5).all()
    else:
        assert alike.all()


@every
def test_a_class_of_one_row_is_repeated(strategy):
    rows = training(30, 1, 12)
    sample = resample(strategy, {}, rows, 0)
    (lonely,) = np.flatnonzero(rows.targets == 1)
    assert (sample.rows == lonely).sum() == 30
    assert not sample.synthetic[sample.rows == lonely].any()
    assert sample.notes == ("class B has 1 row: repeated instead of interpolated",)


@pytest.mark.parametrize("strategy", ["smote", "borderline_smote_1", "adasyn"])
def test_a_small_class_has_fewer_neighbours(strategy):
    rows = training(40, 3, 12)
    sample = resample(strategy, {"k": 5}, rows, 0)
    assert sample.notes == ("class B has 3 rows: 2 neighbours instead of 5",)
    of_b = sample.synthetic & (rows.targets[sample.rows] == 1)
    assert of_b.sum() >= 30
    assert (rows.targets[sample.partners[of_b]] == 1).all()


def test_fewer_neighbours_are_as_if_asked_for():
    rows = training(40, 3)
    few, fewer = (resample("smote", {"k": k}, rows, 0) for k in (5, 2))
    np.testing.assert_array_equal(few.mix, fewer.mix)
    np.testing.assert_array_equal(few.partners, fewer.partners)
    assert fewer.notes == ()


def test_neighbours_of_any_class_suffice_for_borderline_2():
    rows = training(40, 3)
    assert resample("borderline_smote_2", {}, rows, 0).notes == ()
    few = resample("borderline_smote_2", {}, training(4, 3), 0).notes
    assert "there are 7 rows: 6 neighbours instead of 10 tell which are in danger" in few
    fewest = resample("borderline_smote_2", {"k": 9}, training(4, 3), 0).notes
    assert "there are 7 rows: 6 neighbours instead of 9" in fewest


def test_no_danger_is_noted():
    rows = training(40, 12, spread=100)
    sample = resample("borderline_smote_1", {}, rows, 0)
    assert sample.counts(rows).tolist() == [40, 12]
    assert sample.notes == ("class B has no rows in danger: nothing added",)


def test_adasyn_without_other_classes_nearby_is_smote():
    rows = training(40, 12, spread=100)
    sample = resample("adasyn", {}, rows, 0)
    assert sample.notes == ("class B has no neighbours of other classes: SMOTE instead of ADASYN",)
    smote = resample("smote", {}, rows, 0)
    np.testing.assert_array_equal(sample.partners, smote.partners)
    np.testing.assert_array_equal(sample.mix, smote.mix)


def test_adasyn_with_nothing_to_spread_is_noted():
    rows = training(40, 39, spread=0)
    sample = resample("adasyn", {}, rows, 0)
    assert sample.counts(rows).tolist() == [40, 39]
    assert sample.notes == ("class B lacks too few rows to spread over its members: nothing added",)


def test_soft_labels_are_interpolated():
    rows = mixtures(AB12=30)
    sample = resample("smote", {}, rows, 0)
    new = np.flatnonzero(sample.synthetic)
    share = sample.mix[new, None].astype(np.float64)
    soft = rows.soft_targets
    expected = (1 - share) * soft[sample.rows[new]] + share * soft[sample.partners[new]]
    np.testing.assert_allclose(sample.targets(rows)[new], expected)
    assert (expected.max(1) < 0.999).any()


def test_a_copy_of_a_row_is_no_synthetic_item():
    rows = training(20, 6)
    equal = np.ones((26, 3), dtype=np.float32)
    sample = resample("smote", {}, replace(rows, spaces={"pixels": lambda: equal}), 0)
    assert sample.counts(rows).tolist() == [20, 20]
    assert (sample.synthetic == (sample.rows != sample.partners)).all()


def test_rows_without_a_space_are_a_user_error():
    with pytest.raises(UserError, match=r"set sampling\.embeddings"):
        resample("smote", {}, replace(training(9, 5), spaces={}), 0)


def test_points_are_the_shares_of_the_parents():
    sample = Sample(
        np.array([0, 2]), np.ones(2, dtype=np.float32), partners=np.array([0, 1]), mix=np.float32([0, 0.25])
    )
    assert points(sample, 3).toarray().tolist() == [[1, 0, 0], [0, 0.25, 0.75]]
    assert points(Sample(np.array([1]), np.ones(1, dtype=np.float32)), 2).toarray().tolist() == [[0, 1]]

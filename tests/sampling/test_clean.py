from dataclasses import replace

import numpy as np
import pytest
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import EditedNearestNeighbours, TomekLinks

from cellml.sampling.strategies import resample
from tests.sampling.helpers import in_order, state, training


def kept(peer, rows, space=None):
    peer.fit_resample(rows.space(space).astype(np.float64), rows.targets)
    return sorted(peer.sample_indices_.tolist())


@pytest.mark.parametrize("counts", [(60, 30, 12, 25), (40, 15), (50, 0, 9), (20, 20)])
def test_rows_left_are_imbalanced_learns(counts):
    rows = training(*counts)
    tomek = resample("tomek", {}, rows, 0)
    enn = resample("enn", {"may_empty": True}, rows, 0)
    assert tomek.rows.tolist() == kept(TomekLinks(), rows)
    assert enn.rows.tolist() == kept(EditedNearestNeighbours(), rows)
    assert len(enn) < len(rows)
    assert len(tomek) < len(rows) or counts == (50, 0, 9)


def test_options_are_imbalanced_learns():
    rows = training(60, 30, 12)
    enn = resample("enn", {"k": 1, "space": "pixels", "target": ["C", "A"]}, rows, 0)
    peer = EditedNearestNeighbours(n_neighbors=1, sampling_strategy=[0, 2])
    assert enn.rows.tolist() == kept(peer, rows, "pixels")
    tomek = resample("tomek", {"space": "pixels", "target": ["C"]}, rows, 0)
    assert tomek.rows.tolist() == kept(TomekLinks(sampling_strategy=[2]), rows, "pixels")


def test_enn_over_is_one_after_the_other():
    rows = training(60, 30, 12)
    left = np.array(kept(EditedNearestNeighbours(), rows))
    peer = RandomOverSampler(random_state=state(5))
    peer.fit_resample(left[:, None], rows.targets[left])
    sample = resample("enn_over", {}, rows, 5)
    assert sample.rows.tolist() == left[peer.sample_indices_].tolist()
    assert len(set(sample.counts(rows))) == 1
    assert resample("enn_over", {"ratio": 0.5, "target": ["C"]}, rows, 5).counts(rows)[2] > 0


@pytest.mark.parametrize("counts", [(60, 30, 12, 25), (40, 15)])
@pytest.mark.parametrize("seed", [0, 1])
def test_smote_enn_is_imbalanced_learns(counts, seed):
    rows = training(*counts)
    x = rows.space().astype(np.float64)
    expected, labels = SMOTEENN(random_state=state(seed)).fit_resample(x, rows.targets)
    sample = resample("smote_enn", {}, rows, seed)
    np.testing.assert_allclose(in_order(sample.features(x)), in_order(expected), atol=1e-6)
    np.testing.assert_array_equal(np.bincount(rows.targets[sample.rows]), np.bincount(labels))
    assert 0 < sample.synthetic.sum() < len(sample) < len(x) * 3


@pytest.fixture
def ambiguous():
    """Rows of A on their own, and every row of C beside one of B."""
    rows = training(6, 30, 8)
    features = np.zeros((44, 1), dtype=np.float32)
    for label, places in enumerate([-100 - np.arange(6), np.arange(30), np.arange(8) * 3 + 0.5]):
        features[rows.targets == label, 0] = places
    return replace(rows, spaces={"pixels": lambda: features})


@pytest.mark.parametrize("strategy", ["enn", "tomek", "enn_over"])
def test_a_class_that_would_go_is_kept(strategy, ambiguous):
    features = ambiguous.space()
    if strategy == "tomek":  # each row of C and the row of B beside it are the only ones of their neighbourhood
        features[ambiguous.targets == 2] -= 0.25
    kept = resample(strategy, {"target": ["C"]}, ambiguous, 0)
    assert set(np.flatnonzero(ambiguous.targets == 2)) <= set(kept.rows)
    assert kept.notes == (f"class C: {strategy.removesuffix('_over')} would leave no rows, all are kept",)
    emptied = resample(strategy, {"target": ["C"], "may_empty": True}, ambiguous, 0)
    assert emptied.counts(ambiguous).tolist() == [6, 30, 0]
    assert emptied.notes == (f"class C: {strategy.removesuffix('_over')} left no rows",)


def test_smote_enn_keeps_a_class_that_would_go():
    """Two rows of B, each between rows of A at other ends: whatever is made between them lies among A, too."""
    rows = training(40, 2)
    features = np.zeros((42, 1), dtype=np.float32)
    features[rows.targets == 0, 0] = np.arange(40)
    features[rows.targets == 1, 0] = [0.5, 38.5]
    apart = replace(rows, spaces={"pixels": lambda: features})
    sample = resample("smote_enn", {"ratio": 0.1, "target": ["B"]}, apart, 0)
    assert sample.counts(rows).tolist() == [40, 4]
    assert "class B: smote_enn would leave no rows, all are kept" in sample.notes


def test_few_rows_have_few_neighbours():
    assert "there are 3 rows: 2 neighbours instead of 3" in resample("enn", {}, training(2, 1), 0).notes


def test_soft_labels_count_for_their_most_probable_class():
    hard, soft = training(50, 20, 5), training(50, 20, 5, soft=True)
    for strategy in ("enn", "tomek", "enn_over", "smote_enn"):
        a = resample(strategy, {}, hard, 0)
        b = resample(strategy, {}, replace(hard, soft_targets=soft.soft_targets), 0)
        np.testing.assert_array_equal(a.rows, b.rows)

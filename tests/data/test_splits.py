import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from cellml.data import splits
from cellml.errors import UserError


@st.composite
def rows(draw, most=60):
    n = draw(st.integers(2, most))
    targets = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    groups = draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    return np.array(targets), np.array([f"g{g}" for g in groups])


def _counts(targets, part, parts):
    return np.array([[np.sum((targets == c) & (part == p)) for c in range(targets.max() + 1)] for p in range(parts)])


def _uneven(seed, groups, classes, n, skew):
    rng = np.random.default_rng(seed)
    mixture, sizes = rng.dirichlet(np.full(classes, 0.5), groups), rng.dirichlet(np.full(groups, skew))
    group = rng.choice(groups, n, p=sizes)
    return np.array([rng.choice(classes, p=mixture[g]) for g in group]), group


@settings(max_examples=60, deadline=None)
@given(rows(), st.floats(0.05, 0.95), st.integers(0, 5))
def test_holdout_never_divides_a_group_and_leaves_no_side_empty(data, share, seed):
    targets, groups = data
    if len(set(groups)) < 2:
        with pytest.raises(UserError, match="at least 2 groups"):
            splits.holdout(targets, groups, share, seed)
        return
    held = splits.holdout(targets, groups, share, seed)
    assert held.dtype == bool
    assert not set(groups[held]) & set(groups[~held])
    assert held.any()
    assert not held.all()


@settings(max_examples=60, deadline=None)
@given(rows(), st.integers(2, 8), st.integers(0, 5))
def test_kfold_never_divides_a_group_and_leaves_no_fold_empty(data, k, seed):
    targets, groups = data
    if len(set(groups)) < k:
        with pytest.raises(UserError, match=f"at least {k} groups for {k} folds, found {len(set(groups))}"):
            splits.kfold(targets, groups, k, seed)
        return
    fold = splits.kfold(targets, groups, k, seed)
    assert sorted(set(fold)) == list(range(k))
    assert all(len(set(fold[groups == g])) == 1 for g in set(groups))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=8, max_size=300), st.integers(2, 6), st.integers(0, 5))
def test_rows_without_groups_are_dealt_as_evenly_as_can_be(targets, k, seed):
    targets = np.array(targets)
    fold = splits.kfold(targets, np.arange(len(targets)), k, seed)
    counts = _counts(targets, fold, k)
    assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 1
    held = splits.holdout(targets, np.arange(len(targets)), 0.25, seed)
    for c in set(targets):
        total, out = np.sum(targets == c), np.sum(held[targets == c])
        assert abs(out - 0.25 * total) <= 1
        assert total < 2 or 0 < out < total


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize(
    ("groups", "classes", "n", "skew"), [(6, 2, 600, 1.0), (20, 4, 1000, 0.5), (60, 3, 1000, 1.0), (200, 2, 2000, 1.0)]
)
def test_balance_is_no_worse_than_scikit_learns(groups, classes, n, skew, k):
    def worst(part):
        counts = _counts(targets, part, k)
        return np.abs(counts / counts.sum(axis=0) - 1 / k).max() + 1.0 * np.sum(counts == 0)

    ours, theirs = [], []
    for seed in range(3):
        targets, group = _uneven(seed, groups, classes, n, skew)
        ours.append(worst(splits.kfold(targets, group, k, seed)))
        fold = np.empty(n, dtype=int)
        peer = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
        for number, (_, test) in enumerate(peer.split(targets, targets, group)):
            fold[test] = number
        theirs.append(worst(fold))
    assert np.mean(ours) <= np.mean(theirs) + 1e-9


def test_few_big_groups_get_the_best_of_all_divisions():
    targets, group = _uneven(4, 9, 3, 400, 1.0)
    counts = np.array([[np.sum((group == g) & (targets == c)) for c in range(3)] for g in range(9)])
    masks = (np.arange(1, 2**9 - 1)[:, None] >> np.arange(9)) & 1
    shares = masks @ counts / counts.sum(axis=0)
    best = np.square(shares - 0.3).sum(axis=1).min()
    held = splits.holdout(targets, group, 0.3, 0)
    ours = np.square(_counts(targets, held.astype(int), 2)[1] / counts.sum(axis=0) - 0.3).sum()
    assert ours <= best * 1.5 + 1e-6


@pytest.mark.parametrize("members", [2, 3, 4])
def test_a_rare_class_is_on_both_sides_of_a_holdout(members):
    targets = np.array([0] * 200 + [1] * members)
    for seed in range(5):
        held = splits.holdout(targets, np.arange(len(targets)), 0.1, seed)
        assert 0 < held[targets == 1].sum() < members


def test_the_seed_decides_and_the_order_of_rows_does_not_divide_groups():
    targets, group = _uneven(1, 30, 3, 300, 1.0)
    first = splits.holdout(targets, group, 0.2, 7)
    assert np.array_equal(first, splits.holdout(targets, group, 0.2, 7))
    assert any(not np.array_equal(first, splits.holdout(targets, group, 0.2, seed)) for seed in range(8, 12))


@pytest.mark.parametrize("share", [0, 1, -0.5, 2])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(UserError, match="between 0 and 1"):
        splits.holdout([0, 1, 0, 1], [0, 1, 2, 3], share, 0)
    with pytest.raises(UserError, match="at least 2 folds"):
        splits.kfold([0, 1], [0, 1], 1, 0)


def test_copies_join_groups_but_one_picture_everywhere_does_not():
    groups = [f"g{i // 2}" for i in range(100)]
    pixels = [f"p{i}" for i in range(100)]
    pixels[0] = pixels[2] = pixels[5] = "copy"
    joined = splits.joined(groups, pixels)
    assert len(set(joined[:6])) == 1
    assert len(set(joined)) == 48
    everywhere = splits.joined(groups, ["same" if i % 2 else p for i, p in enumerate(pixels)])
    assert [list(everywhere).index(g) for g in everywhere] == [groups.index(g) for g in groups]

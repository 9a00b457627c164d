"""Conformance of every registered strategy, then what each one promises."""

import time
from dataclasses import replace

import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.utils.class_weight import compute_sample_weight

from cellml.errors import UserError
from cellml.sampling import strategies
from cellml.sampling.base import Sample, TrainingRows
from cellml.sampling.strategies import STRATEGIES, resample

every = pytest.mark.parametrize("strategy", list(STRATEGIES))


def training(*counts, soft=False, seed=0, features=False):
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    n = len(targets)
    probabilities = None
    if soft:
        probabilities = 0.6 * np.eye(len(counts))[targets] + 0.4 * rng.dirichlet(np.ones(len(counts)), n)
    return TrainingRows(
        ids=np.array([f"cell {i}" for i in range(n)], dtype=object),
        targets=targets,
        groups=np.array([f"slide {i % 7}" for i in range(n)], dtype=object),
        num_classes=len(counts),
        soft_targets=probabilities,
        features=rng.normal(size=(n, 8)) if features else None,
    )


def same(a: Sample, b: Sample) -> bool:
    draws = a.draw is b.draw if a.draw is None or b.draw is None else np.array_equal(a.draw, b.draw)
    return np.array_equal(a.rows, b.rows) and np.array_equal(a.weights, b.weights) and draws


def conforms(sample: Sample, rows: TrainingRows) -> None:
    assert sample.rows.dtype == np.int64
    assert sample.weights.dtype == np.float32
    assert sample.rows.shape == sample.weights.shape == (len(sample),)
    assert len(sample) > 0
    assert set(sample.rows.tolist()) <= set(range(len(rows)))
    assert (sample.weights > 0).all()
    assert sample.weights.mean() == pytest.approx(1, abs=1e-5)
    if sample.draw is not None:
        assert sample.draw.dtype == np.float64
        assert sample.draw.shape == sample.rows.shape
        assert (sample.draw >= 0).all()
        assert sample.draw.sum() == pytest.approx(1)
    counts = sample.counts(rows)
    assert counts.shape == (rows.num_classes,)
    assert counts.sum() == pytest.approx(len(sample))
    assert (counts[rows.counts == 0] == 0).all()
    assert (counts[rows.counts > 0] > 0).all()


@every
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("counts", [(50, 20, 5), (30, 1), (40, 0, 3), (12,), (0, 9), (6, 6, 6), (1, 1)])
def test_answers_are_positions_among_the_training_rows(strategy, soft, counts):
    rows = training(*counts, soft=soft)
    conforms(resample(strategy, {}, rows, 0), rows)


@every
def test_features_are_accepted(strategy):
    rows = training(30, 9, features=True)
    conforms(resample(strategy, {}, rows, 0), rows)


@every
@pytest.mark.parametrize("soft", [False, True])
def test_the_seed_decides(strategy, soft):
    rows = training(50, 20, 5, soft=soft)
    assert same(resample(strategy, {}, rows, 4), resample(strategy, {}, rows, 4))


@every
def test_global_random_state_is_neither_read_nor_changed(strategy):
    rows = training(50, 20, 5)
    np.random.seed(1)
    first = resample(strategy, {}, rows, 4)
    state = np.random.get_state()[1].tolist()
    np.random.seed(1)
    assert state == np.random.get_state()[1].tolist()
    np.random.seed(2)
    assert same(first, resample(strategy, {}, rows, 4))


@every
def test_rows_are_not_changed(strategy):
    rows = training(50, 20, 5, soft=True, features=True)
    before = {name: getattr(rows, name).copy() for name in ("ids", "targets", "groups", "soft_targets", "features")}
    resample(strategy, {}, rows, 0)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(rows, name), value)


@every
def test_names_of_rows_and_groups_do_not_matter(strategy):
    rows = training(50, 20, 5)
    renamed = replace(rows, ids=rows.ids[::-1].copy(), groups=np.full(len(rows), "g", dtype=object))
    assert same(resample(strategy, {}, rows, 0), resample(strategy, {}, renamed, 0))


@every
def test_unknown_options_are_a_user_error(strategy):
    with pytest.raises(UserError, match=f"Unknown option 'no_such' of sampling strategy '{strategy}'"):
        resample(strategy, {"no_such": 1}, training(5, 5), 0)


@every
def test_fifteen_thousand_rows_take_a_tenth_of_a_second(strategy):
    rows = training(12000, 2500, 500, soft=True)
    seconds = []
    for _ in range(3):
        start = time.thread_time()
        resample(strategy, {}, rows, 0)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.1


def test_unknown_strategies_are_a_user_error():
    with pytest.raises(UserError, match="'balanced'"):
        resample("balansed", {}, training(5, 5), 0)


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("random_over", {"ratio": 0}),
        ("random_over", {"ratio": 1.5}),
        ("random_under", {"ratio": -1}),
        ("random_under", {"ratio": "half"}),
        ("class_weights", {"power": -1}),
        ("balanced", {"power": float("nan")}),
        ("balanced", {"power": True}),
    ],
)
def test_options_out_of_range_are_a_user_error(strategy, options):
    (name,) = options
    with pytest.raises(UserError, match=f"Expected option '{name}' of sampling strategy '{strategy}'"):
        resample(strategy, options, training(5, 5), 0)


@pytest.mark.parametrize(
    "answer",
    [
        Sample(np.array([0, 99]), np.ones(2, dtype=np.float32)),
        Sample(np.array([-1, 0]), np.ones(2, dtype=np.float32)),
        Sample(np.array([0, 1]), np.array([1, 3], dtype=np.float32)),
        Sample(np.array([0, 1]), np.array([2, 0], dtype=np.float32)),
        Sample(np.array([0, 1]), np.ones(2, dtype=np.float32), draw=np.array([0.5, 0.1])),
        Sample(np.array([0, 1]), np.ones(3, dtype=np.float32)),
        Sample(np.array([], dtype=np.int64), np.array([], dtype=np.float32)),
    ],
)
def test_an_answer_that_breaks_the_contract_raises(answer, monkeypatch):
    def broken(rows, rng):
        """Breaks the contract."""
        return answer

    monkeypatch.setitem(STRATEGIES._members, "broken", broken)
    with pytest.raises(ValueError, match="'broken'"):
        resample("broken", {}, training(5, 5), 0)


def test_none_is_every_row_once():
    sample = resample("none", {}, training(50, 20, 5), 0)
    assert sample.rows.tolist() == list(range(75))
    assert (sample.weights == 1).all()
    assert sample.draw is None


def test_random_over_is_imbalanced_learns():
    rows = training(50, 20, 0, 5)
    sample = resample("random_over", {}, rows, 3)
    state = int(np.random.default_rng(3).integers(2**31))
    peer = RandomOverSampler(random_state=state)
    peer.fit_resample(np.arange(75)[:, None], rows.targets)
    assert sample.rows.tolist() == peer.sample_indices_.tolist()
    assert sample.counts(rows).tolist() == [50, 50, 0, 50]
    assert set(sample.rows.tolist()) == set(range(75))
    assert resample("random_over", {"ratio": 0.5}, rows, 3).counts(rows).tolist() == [50, 25, 0, 25]


def test_random_under_is_imbalanced_learns():
    rows = training(50, 20, 0, 5)
    sample = resample("random_under", {}, rows, 3)
    state = int(np.random.default_rng(3).integers(2**31))
    peer = RandomUnderSampler(random_state=state)
    peer.fit_resample(np.arange(75)[:, None], rows.targets)
    assert sample.rows.tolist() == sorted(peer.sample_indices_.tolist())
    assert sample.counts(rows).tolist() == [5, 5, 0, 5]
    assert len(set(sample.rows.tolist())) == len(sample)
    assert resample("random_under", {"ratio": 0.25}, rows, 3).counts(rows).tolist() == [20, 20, 0, 5]


@pytest.mark.parametrize("strategy", ["random_over", "random_under"])
def test_other_seeds_choose_other_rows(strategy):
    rows = training(50, 20, 5)
    assert not same(resample(strategy, {}, rows, 0), resample(strategy, {}, rows, 1))


def test_class_weights_are_scikit_learns():
    rows = training(50, 20, 5)
    expected = compute_sample_weight("balanced", rows.targets)
    np.testing.assert_allclose(resample("class_weights", {}, rows, 0).weights, expected, rtol=1e-6)
    gentle = resample("class_weights", {"power": 0.5}, rows, 0).weights
    np.testing.assert_allclose(gentle, expected**0.5 / (expected**0.5).mean(), rtol=1e-6)
    assert (resample("class_weights", {"power": 0}, rows, 0).weights == 1).all()


def test_class_weights_of_soft_labels():
    soft = np.array([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75]])
    rows = replace(training(2, 1), targets=soft.argmax(1), soft_targets=soft)
    mass = np.array([2.0, 1.0])
    raw = np.array([(row * 3 / mass).sum() for row in soft])
    np.testing.assert_allclose(resample("class_weights", {}, rows, 0).weights, raw / raw.mean(), rtol=1e-6)
    hard = training(50, 20, 5)
    same_labels = replace(hard, soft_targets=np.eye(3)[hard.targets])
    assert same(resample("class_weights", {}, hard, 0), resample("class_weights", {}, same_labels, 0))


def test_balanced_draws_every_class_equally_often():
    rows = training(500, 90, 0, 10)
    sample = resample("balanced", {}, rows, 0)
    np.testing.assert_allclose(sample.counts(rows), [200, 200, 0, 200])
    drawn = np.random.default_rng(0).choice(sample.rows, size=60000, p=sample.draw)
    share = np.bincount(rows.targets[drawn], minlength=4) / 60000
    np.testing.assert_allclose(share, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.01)
    within = sample.draw[rows.targets == 1]
    assert within.min() == within.max()


def test_balanced_by_a_lower_power_lies_between():
    rows = training(80, 20)
    np.testing.assert_allclose(resample("balanced", {"power": 0}, rows, 0).counts(rows), [80, 20])
    np.testing.assert_allclose(resample("balanced", {"power": 0.5}, rows, 0).counts(rows), [200 / 3, 100 / 3])


def test_every_strategy_is_described_in_one_line():
    described = dict(strategies.STRATEGIES.describe())
    assert set(described) >= {"none", "random_over", "random_under", "class_weights", "balanced"}
    assert all(text.endswith(".") and "\n" not in text for text in described.values())

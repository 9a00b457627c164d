"""Conformance of every registered strategy, and what `resample` refuses."""

from dataclasses import replace

import numpy as np
import pytest

from cellml.config import Step
from cellml.errors import UserError
from cellml.sampling import strategies
from cellml.sampling.base import Sample
from cellml.sampling.members import MAKES
from cellml.sampling.strategies import STRATEGIES, resample
from tests.sampling.helpers import mixtures, same, training

every = pytest.mark.parametrize("strategy", list(STRATEGIES))
soft_or_hard = pytest.mark.parametrize("soft", [False, True])
RANDOM = {
    "random_over", "random_under", "smote", "borderline_smote_1", "borderline_smote_2", "adasyn", "enn_over",
    "smote_enn", "augment_minority",
}  # fmt: skip
QUICK = set(STRATEGIES) & {
    "none", "random_over", "random_under", "balanced", "class_weights", "effective_weights", "augment_minority", "pure",
}  # fmt: skip
GROWS = {"smote", "borderline_smote_1", "borderline_smote_2", "adasyn", "random_over"}
SHRINKS = {"random_under", "tomek", "enn"}


def given(*counts, soft=False, seed=0):
    """Rows as `training`; of soft labels, half are pure, so that no strategy is left without rows."""
    rows = training(*counts, soft=soft, seed=seed)
    if not soft:
        return rows
    pure = (np.arange(len(rows)) % 2 == 0)[:, None]
    return replace(rows, soft_targets=np.where(pure, np.eye(len(counts))[rows.targets], rows.soft_targets))


def conforms(sample, rows):
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
    assert (sample.partners is None) == (sample.mix is None)
    if sample.partners is not None:
        assert sample.partners.dtype == np.int64
        assert sample.mix.dtype == np.float32
        assert set(sample.partners.tolist()) <= set(range(len(rows)))
        assert ((sample.mix >= 0) & (sample.mix < 1)).all()
    if sample.transforms is not None:
        assert sample.transforms.dtype == np.int8
        assert set(sample.transforms.tolist()) <= {0, 1, 2, 3, 4}
    assert all("\n" not in note for note in sample.notes)


@every
@soft_or_hard
@pytest.mark.parametrize("counts", [(50, 20, 5), (30, 1), (40, 0, 3), (12,), (0, 9), (6, 6, 6), (9, 9), (1, 1), (2, 1)])
def test_answers_are_positions_among_the_training_rows(strategy, soft, counts):
    rows = given(*counts, soft=soft)
    sample = resample(strategy, {}, rows, 0)
    conforms(sample, rows)
    before, after = rows.counts, sample.counts(rows)
    assert after.shape == (rows.num_classes,)
    assert after.sum() == pytest.approx(len(sample))
    assert (after[before == 0] == 0).all()
    if strategy != "pure":
        assert (after[before > 0] > 0).all()
    if strategy in GROWS:
        assert (after >= before).all()
    if strategy in SHRINKS:
        assert (after <= before).all()


@every
@soft_or_hard
def test_labels_of_items_are_probabilities(strategy, soft):
    rows = given(50, 20, 5, soft=soft)
    sample = resample(strategy, {}, rows, 0)
    labels = sample.targets(rows)
    assert labels.shape == (len(sample), 3)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    real = ~sample.synthetic
    np.testing.assert_array_equal(labels[real], rows.labels[sample.rows[real]])


@every
@soft_or_hard
def test_the_seed_decides(strategy, soft):
    rows = given(50, 20, 5, soft=soft)
    assert same(resample(strategy, {}, rows, 4), resample(strategy, {}, rows, 4))
    other = [same(resample(strategy, {}, rows, 4), resample(strategy, {}, rows, seed)) for seed in (5, 6)]
    assert other == [strategy not in RANDOM] * 2


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
    rows = given(50, 20, 5, soft=True)
    names = ("ids", "targets", "groups", "soft_targets")
    before = {name: getattr(rows, name).copy() for name in names}
    features = {space: rows.space(space).copy() for space in rows.spaces}
    resample(strategy, {}, rows, 0)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(rows, name), value)
    for space, value in features.items():
        np.testing.assert_array_equal(rows.space(space), value)


@every
def test_names_of_rows_and_groups_do_not_matter(strategy):
    rows = training(50, 20, 5)
    renamed = replace(rows, ids=rows.ids[::-1].copy(), groups=np.full(len(rows), "g", dtype=object))
    assert same(resample(strategy, {}, rows, 0), resample(strategy, {}, renamed, 0))


@every
def test_rows_outside_training_do_not_matter(strategy):
    """Features are asked of the training rows alone: those of others may be anything."""
    everything = training(80, 40, 30)
    inside = np.arange(0, 150, 2)

    def seen(features):
        return replace(
            everything,
            ids=everything.ids[inside],
            targets=everything.targets[inside],
            groups=everything.groups[inside],
            spaces={"embeddings": lambda: features[inside]},
        )

    corrupt = everything.space().copy()
    corrupt[1::2] = np.nan
    plain = resample(strategy, {}, seen(everything.space()), 3)
    assert same(plain, resample(strategy, {}, seen(corrupt), 3))
    conforms(plain, seen(corrupt))


@every
def test_groups_stay_with_their_rows(strategy):
    """An item's group is that of `rows`, and its class too."""
    rows = mixtures(20, AB12=9)
    sample = resample(strategy, {}, rows, 0)
    of_group = dict(zip(rows.groups, rows.targets, strict=True))
    assert [of_group[g] for g in rows.groups[sample.rows]] == rows.targets[sample.rows].tolist()
    if sample.mix is not None and strategy != "borderline_smote_2":
        made = sample.mix > 0
        np.testing.assert_array_equal(rows.targets[sample.rows[made]], rows.targets[sample.partners[made]])


@every
def test_the_order_of_classes_does_not_matter_to_their_numbers(strategy):
    rows = training(50, 20, 5)
    swapped = replace(rows, targets=2 - rows.targets, classes=rows.classes[::-1])
    a, b = (resample(strategy, {}, r, 0).counts(r) for r in (rows, swapped))
    np.testing.assert_allclose(a, b[::-1], rtol=0.3)


@every
def test_unknown_options_are_a_user_error(strategy):
    with pytest.raises(UserError, match=f"Unknown option 'no_such' of sampling strategy '{strategy}'"):
        resample(strategy, {"no_such": 1}, training(5, 5), 0)


def test_unknown_strategies_are_a_user_error():
    with pytest.raises(UserError, match="did you mean 'balanced'"):
        resample("balansed", {}, training(5, 5), 0)
    with pytest.raises(UserError, match="did you mean 'balanced'"):
        strategies.check("balansed", {})


def test_names_are_checked_before_rows_are_looked_at():
    strategies.check("smote", {"k": 3, "space": "pixels"})
    with pytest.raises(UserError, match="Unknown option 'kk' of sampling strategy 'smote'"):
        strategies.check("smote", {"kk": 3})
    with pytest.raises(UserError, match="a recipe's name that no strategy has"):
        strategies.check("none", {}, {"tomek": [Step(method="none")]})


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
        ("effective_weights", {"beta": 1}),
        ("effective_weights", {"beta": "0.9"}),
        ("augment_minority", {"factor": 0}),
        ("smote", {"k": 0}),
        ("smote", {"ratio": 2}),
        ("borderline_smote_1", {"m": 1.5}),
        ("borderline_smote_2", {"k": -1}),
        ("adasyn", {"k": "five"}),
        ("enn", {"k": 0}),
        ("enn_over", {"k": 0}),
        ("smote_enn", {"enn_k": 0}),
        ("random_over", {"target": "A"}),
    ],
)
def test_options_out_of_range_are_a_user_error(strategy, options):
    (name,) = options
    called = "enn" if strategy == "enn_over" else strategy
    with pytest.raises(UserError, match=f"Expected option '{name}' of sampling strategy '{called}'"):
        resample(strategy, options, training(5, 5), 0)


@pytest.mark.parametrize("strategy", ["random_over", "random_under", "augment_minority", "smote", "tomek", "enn"])
def test_unknown_target_classes_are_a_user_error(strategy):
    with pytest.raises(UserError, match="got 'Z': known: A, B"):
        resample(strategy, {"target": ["Z"]}, training(5, 5), 0)


def answer(*rows, weights=None, **more):
    values = np.ones(len(rows)) if weights is None else weights
    return Sample(np.array(rows, dtype=np.int64), np.array(values, dtype=np.float32), **more)


@pytest.mark.parametrize(
    "broken",
    [
        answer(0, 99),
        answer(-1, 0),
        answer(0, 1, weights=[1, 3]),
        answer(0, 1, weights=[2, 0]),
        answer(0, 1, weights=[1, 1, 1]),
        answer(),
        answer(0, 1, draw=np.array([0.5, 0.1])),
        answer(0, 1, partners=np.array([0, 1])),
        answer(0, 1, mix=np.float32([0, 0.5])),
        answer(0, 1, partners=np.array([0, 10]), mix=np.float32([0, 0.5])),
        answer(0, 1, partners=np.array([0, 1]), mix=np.float32([0, 1.5])),
        answer(0, 1, partners=np.array([0]), mix=np.float32([0])),
        answer(0, 1, transforms=np.int8([1])),
    ],
)
def test_an_answer_that_breaks_the_contract_raises(broken, monkeypatch):
    def member(rows, rng):
        """Breaks the contract."""
        return broken

    monkeypatch.setitem(STRATEGIES._members, "broken", member)
    with pytest.raises(ValueError, match="'broken'"):
        resample("broken", {}, training(5, 5), 0)


def test_every_strategy_is_described_in_one_line():
    described = dict(STRATEGIES.describe())
    assert set(described) == RANDOM | QUICK | {"tomek", "enn"}
    assert all(text.endswith(".") and "\n" not in text for text in described.values())


@every
def test_strategies_that_make_new_items_are_marked_so(strategy):
    made = resample(strategy, {}, given(50, 20, 12), 0).synthetic.any()
    assert made == STRATEGIES.marked(strategy, MAKES)

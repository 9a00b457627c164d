from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from imblearn.over_sampling import BorderlineSMOTE, RandomOverSampler
from imblearn.under_sampling import EditedNearestNeighbours

from cellml.config import Step
from cellml.errors import UserError
from cellml.sampling.members import MAKES
from cellml.sampling.strategies import STRATEGIES, check, resample
from tests.sampling.helpers import mixtures, same, training

KINDS = ("A", "B", "C", "A:B 1:2", "A:B 2:1")


def recipe(*steps):
    return {"own": [Step(**step) for step in steps]}


def apply(rows, *steps, seed=0):
    return resample("own", {}, rows, seed, recipe(*steps))


def kinds(sample, rows):
    return Counter(rows.kinds[sample.rows])


def codes(rows):
    return np.array([KINDS.index(kind) for kind in rows.kinds])


@pytest.mark.parametrize("method", list(STRATEGIES))
@pytest.mark.parametrize("counts", [(40, 12, 20), (15, 15)])
def test_one_step_that_sees_everything_is_its_method(method, counts):
    rows = training(*counts)
    options = {"may_empty": True} if "may_empty" in STRATEGIES.option_names(method) else {}
    ours, plain = apply(rows, {"method": method}, seed=7), resample(method, options, rows, 7)
    np.testing.assert_array_equal(ours.rows, plain.rows)
    np.testing.assert_allclose(ours.weights, plain.weights, rtol=1e-6)
    np.testing.assert_array_equal(ours.synthetic, plain.synthetic)
    np.testing.assert_array_equal(ours.features(rows.space()), plain.features(rows.space()))
    assert (ours.draw is None) == (plain.draw is None)
    if plain.draw is not None:
        np.testing.assert_allclose(ours.draw, plain.draw)
    if plain.transforms is not None and plain.synthetic.any():
        np.testing.assert_array_equal(ours.transforms, plain.transforms)
        assert ours.seed == plain.seed
    assert [note.split(": ", 1)[1] for note in ours.notes] == list(plain.notes)


def test_m1_is_pure_rows():
    rows = mixtures()
    assert kinds(apply(rows, {"method": "pure"}), rows) == {"A": 12, "B": 12, "C": 12}


def test_m3_adds_borderline_items_of_mixtures():
    """As imbalanced-learn does with the mixtures as classes of their own."""
    rows = mixtures(30, AB12=12, AB21=9)
    sample = apply(rows, {"method": "borderline_smote_1", "target": ["mixed"]}, seed=5)
    x = rows.space().astype(np.float64)
    state = int(np.random.default_rng(5).integers(2**31))
    expected, labels = BorderlineSMOTE(random_state=state).fit_resample(x, codes(rows))
    np.testing.assert_allclose(sample.features(x), expected, atol=1e-5)
    assert kinds(sample, rows) == {KINDS[k]: n for k, n in Counter(labels.tolist()).items()}
    np.testing.assert_allclose(sample.targets(rows)[sample.synthetic], rows.soft_targets[sample.rows[sample.synthetic]])


def test_m4_repeats_mixtures():
    rows = mixtures(30, AB12=12, AB21=9)
    sample = apply(rows, {"method": "random_over", "target": ["mixed"]})
    assert kinds(sample, rows) == dict.fromkeys(KINDS, 30)
    part = apply(rows, {"method": "random_over", "target": ["A:B 1:2"], "ratio": 0.5})
    assert kinds(part, rows) == {"A": 30, "B": 30, "C": 30, "A:B 1:2": 15, "A:B 2:1": 9}


def test_m5_edits_mixtures_and_repeats_what_is_left():
    rows = mixtures(30, AB12=20, AB21=25)
    steps = [{"method": "enn", "k": 3, "target": ["mixed"]}, {"method": "random_over", "target": ["mixed"]}]
    sample = apply(rows, *steps, seed=2)
    enn = EditedNearestNeighbours(n_neighbors=3, sampling_strategy=[3, 4])
    enn.fit_resample(rows.space().astype(np.float64), codes(rows))
    left = np.sort(enn.sample_indices_)
    state = int(np.random.default_rng(2).integers(2**31))
    over = RandomOverSampler(random_state=state)
    over.fit_resample(left[:, None], codes(rows)[left])
    assert sample.rows.tolist() == left[over.sample_indices_].tolist()
    assert len(left) < len(rows)
    assert kinds(sample, rows) == dict.fromkeys(KINDS, 30)


def test_a_step_sees_only_what_is_between():
    """Far rows of other kinds neither count as neighbours nor grow."""
    rows = mixtures(20, AB12=6, AB21=8)
    sample = apply(rows, {"method": "smote", "between": ["mixed"]})
    assert kinds(sample, rows) == {"A": 20, "B": 20, "C": 20, "A:B 1:2": 8, "A:B 2:1": 8}
    assert (rows.kinds[sample.partners[sample.synthetic]] == "A:B 1:2").all()
    two = apply(rows, {"method": "random_over", "between": ["A:B 1:2", "A"], "target": ["A:B 1:2"]})
    assert kinds(two, rows) == {"A": 20, "B": 20, "C": 20, "A:B 1:2": 20, "A:B 2:1": 8}
    assert kinds(apply(rows, {"method": "random_under", "between": ["pure", "A:B 1:2"]}), rows) == {
        **dict.fromkeys(("A", "B", "C", "A:B 1:2"), 6),
        "A:B 2:1": 8,
    }


def test_a_target_is_cleaned_even_where_it_is_smallest():
    rows = mixtures(20, AB12=6, AB21=8)
    own = kinds(apply(rows, {"method": "enn"}), rows)
    assert own["A:B 1:2"] == 6
    assert own["A:B 2:1"] < 8
    target = kinds(apply(rows, {"method": "enn", "target": ["A:B 1:2"]}), rows)
    assert target["A:B 1:2"] < 6
    assert [target[k] for k in ("A", "B", "C", "A:B 2:1")] == [20, 20, 20, 8]


def test_new_items_start_from_real_rows_only():
    rows = training(30, 10, 4)
    repeated = [{"method": "random_over", "target": ["C"]}, {"method": "smote", "target": ["B"], "k": 3}]
    sample = apply(rows, *repeated)
    assert sample.counts(rows).tolist() == [30, 30, 30]
    new = np.flatnonzero(sample.synthetic)
    assert len(new) == 20
    assert (sample.rows[new] != sample.partners[new]).all()
    twice = apply(rows, {"method": "smote", "target": ["C"], "k": 2}, {"method": "adasyn", "target": ["B"], "k": 2})
    assert twice.synthetic.sum() == pytest.approx(46, abs=3)


def test_repeats_are_no_neighbours():
    rows = training(30, 10, 4)
    sample = apply(
        rows, {"method": "random_over", "target": ["C"], "ratio": 0.5}, {"method": "smote", "target": ["C"], "k": 3}
    )
    new = sample.synthetic
    assert sample.counts(rows).tolist() == [30, 10, 15 + 26]
    assert new.sum() == 26
    assert (sample.rows[new] != sample.partners[new]).all()


def test_weights_multiply():
    rows = training(30, 10)
    once, twice = (apply(rows, *[{"method": "class_weights"}] * n).weights for n in (1, 2))
    np.testing.assert_allclose(twice, once**2 / (once**2).mean(), rtol=1e-6)


def test_later_steps_see_the_new_items_where_they_lie():
    rows = training(30, 10)
    steps = [{"method": "smote", "k": 3}, {"method": "enn", "target": ["A", "B"]}]
    sample = apply(rows, *steps, seed=4)
    smote = resample("smote", {"k": 3}, rows, 4)
    enn = EditedNearestNeighbours(sampling_strategy="all")
    enn.fit_resample(smote.features(rows.space()).astype(np.float64), rows.targets[smote.rows])
    chosen = np.sort(enn.sample_indices_)
    np.testing.assert_array_equal(sample.rows, smote.rows[chosen])
    np.testing.assert_array_equal(sample.mix, smote.mix[chosen])
    np.testing.assert_array_equal(sample.partners[sample.synthetic], smote.partners[chosen][sample.synthetic])
    assert 0 < sample.synthetic.sum() < smote.synthetic.sum()


def test_changed_items_stay_changed():
    rows = training(20, 4)
    sample = apply(rows, {"method": "augment_minority"}, {"method": "random_under", "target": ["A"], "ratio": 1.0})
    assert sample.counts(rows).tolist() == [20, 20]
    assert Counter(sample.transforms.tolist()) == {0: 24, 1: 4, 2: 4, 3: 4, 4: 4}
    more = apply(rows, {"method": "augment_minority"}, {"method": "augment_minority", "target": ["B"]})
    assert more.counts(rows).tolist() == [20, 36]


def test_weights_and_draws_of_a_part():
    rows = mixtures(10, AB12=2, AB21=6)
    weighted = apply(rows, {"method": "class_weights", "between": ["mixed"]})
    raw = np.ones(38)
    raw[rows.kinds == "A:B 1:2"], raw[rows.kinds == "A:B 2:1"] = 2, 2 / 3
    by_row = weighted.weights[np.argsort(weighted.rows)]
    np.testing.assert_allclose(by_row, raw / raw.mean(), rtol=1e-6)
    drawn = apply(rows, {"method": "balanced", "between": ["mixed"]})
    share = {kind: drawn.draw[rows.kinds[drawn.rows] == kind].sum() * 38 for kind in KINDS}
    assert share == pytest.approx({"A": 10, "B": 10, "C": 10, "A:B 1:2": 4, "A:B 2:1": 4})


def test_spaces_are_chosen_by_step():
    rows = training(40, 15)
    near = apply(rows, {"method": "smote", "space": "pixels"}, seed=1)
    assert same(near, replace(apply(rows, {"method": "smote", "space": "pixels"}, seed=1)))
    np.testing.assert_array_equal(near.partners, resample("smote", {"space": "pixels"}, rows, 1).partners)
    assert (near.partners != apply(rows, {"method": "smote"}, seed=1).partners).any()


def test_what_is_gone_is_noted():
    rows = mixtures()
    sample = apply(rows, {"method": "pure"}, {"method": "random_over", "target": ["A:B 1:2"]})
    assert sample.notes == ("step 2 of recipe 'own': no rows of A:B 1:2 are left",)
    assert len(sample) == 36


@pytest.mark.parametrize("word", ["between", "target"])
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("A:B 1:3", "got 'A:B 1:3': did you mean 'A:B 1:2'"),
        ("D", "got 'D': known: A, A:B 1:2, A:B 2:1, B, C"),
        ("mixd", "step 1 of recipe 'own', got 'mixd'"),
    ],
)
def test_unknown_kinds_are_a_user_error(word, name, match):
    with pytest.raises(UserError, match=match):
        apply(mixtures(), {"method": "random_over", word: [name]})


def test_mixed_needs_mixtures():
    with pytest.raises(UserError, match="got pure ones only"):
        apply(training(9, 5), {"method": "random_over", "target": ["mixed"]})


def test_a_target_must_be_seen():
    with pytest.raises(UserError, match=r"got \['mixed'\] with between \['pure'\]"):
        apply(mixtures(), {"method": "random_over", "between": ["pure"], "target": ["mixed"]})


def test_a_recipe_that_leaves_nothing_is_a_user_error():
    rows = training(8, 8)
    places = np.arange(16, dtype=np.float32)[:, None]
    features = np.empty_like(places)
    features[np.argsort(rows.targets, kind="stable")] = np.concatenate([places[::2], places[1::2]])
    apart = replace(rows, spaces={"pixels": lambda: features})
    with pytest.raises(UserError, match="it left none"):
        apply(apart, {"method": "enn", "k": 1, "target": ["A", "B"]})


@pytest.mark.parametrize(
    ("named", "match"),
    [
        ({"smote": [Step(method="none")]}, "a recipe's name that no strategy has, got 'smote'"),
        ({"own": []}, "steps in recipe 'own', got none"),
        ({"own": [Step(method="smoty")]}, "did you mean 'smote'"),
        ({"own": [Step(method="other")], "other": [Step(method="none")]}, "got 'other'"),
        ({"own": [Step(method="none", k=3)]}, "Unknown option 'k' of sampling strategy 'none'"),
        ({"own": [Step(method="balanced", target=["A"])]}, "Unknown option 'target'"),
        ({"own": [Step(method="random_over", space="pixels")]}, "Unknown option 'space'"),
        ({"own": [Step(method="tomek", ratio=0.5)]}, "Unknown option 'ratio'"),
    ],
)
def test_recipes_that_cannot_be_are_told_before(named, match):
    with pytest.raises(UserError, match=match):
        check("none", {}, named)


def test_recipes_by_name():
    named = recipe({"method": "none"})
    check("own", {}, named)
    with pytest.raises(UserError, match="did you mean 'own'"):
        check("owm", {}, named)
    with pytest.raises(UserError, match="Unknown option 'k' of recipe 'own': it takes no options"):
        check("own", {"k": 3}, named)


def test_the_mark_of_strategies_that_make_new_items():
    rows = training(40, 12)
    makes = {name for name in STRATEGIES if resample(name, {}, rows, 0).synthetic.any()}
    assert makes == {name for name in STRATEGIES if STRATEGIES.marked(name, MAKES)}

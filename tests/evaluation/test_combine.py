import itertools
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as oracle

from cellml.errors import UserError
from cellml.evaluation import combine, metrics
from cellml.evaluation.predictions import Predictions
from tests.evaluation import helpers


def several(count=3, n=60, classes=("a", "b", "c"), **values):
    return [helpers.make(n, classes, seed=k, sharp=0.4 + 0.4 * k, **values) for k in range(count)]


def test_the_mean_is_weighted_and_keeps_the_rest():
    models = several()
    together = combine.combine(models, [0.2, 0.3, 0.5])
    expected = np.average([one.probabilities for one in models], axis=0, weights=[0.2, 0.3, 0.5])
    np.testing.assert_allclose(together.probabilities, expected, rtol=1e-12)
    np.testing.assert_allclose(together.probabilities.sum(axis=1), 1)
    assert together.ids is models[0].ids
    assert together.classes == models[0].classes
    doubled = combine.combine(models, [4, 6, 10])
    np.testing.assert_allclose(doubled.probabilities, expected, rtol=1e-12)


def test_a_weight_of_1_gives_that_model():
    models = several()
    np.testing.assert_array_equal(combine.combine(models, [0, 1, 0]).probabilities, models[1].probabilities)


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, -1], [0, 0, 0], [1, 1, np.nan], [1, 1, np.inf], 1.0])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="expected 3 weights"):
        combine.combine(several(), weights)


@pytest.mark.parametrize("rule", combine.RULES)
def test_every_rule_conforms(rule):
    models = several(4)
    before = [one.probabilities.copy() for one in models]
    weights = combine.weigh(rule, models)
    assert weights.shape == (4,)
    assert weights.dtype == np.float64
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(weights, combine.weigh(rule, models))
    assert all(np.array_equal(one.probabilities, p) for one, p in zip(models, before, strict=True))
    np.testing.assert_allclose(combine.weigh(rule, models[:1]), [1])
    unlabelled = [replace(one, targets=np.where(np.arange(60) < 20, -1, one.targets)) for one in models]
    known = [one.where(np.arange(60) >= 20) for one in models]
    np.testing.assert_allclose(combine.weigh(rule, unlabelled), combine.weigh(rule, known))


def test_weights_follow_scikit_learns_scores():
    models = several()
    scores = np.array([oracle.accuracy_score(one.targets, one.predicted) for one in models])
    np.testing.assert_allclose(combine.weigh("accuracy", models), scores / scores.sum())
    scores = np.array([oracle.f1_score(one.targets, one.predicted, average="macro") for one in models])
    np.testing.assert_allclose(combine.weigh("f1_macro", models), scores / scores.sum())
    np.testing.assert_array_equal(combine.weigh("mean", models), np.full(3, 1 / 3))


def test_models_that_are_always_wrong_count_the_same():
    wrong = helpers.given([0, 1], [[0.2, 0.8], [0.8, 0.2]])
    np.testing.assert_array_equal(combine.weigh("accuracy", [wrong, wrong]), [0.5, 0.5])
    right = replace(wrong, probabilities=1 - wrong.probabilities)
    np.testing.assert_array_equal(combine.weigh("f1_macro", [wrong, right]), [0, 1])


def slow_greedy(models, score, rounds):
    """Caruana's selection written down as it is told: bags of models, each scored from scratch."""

    def of(bag):
        return score(np.mean([models[k].probabilities for k in bag], axis=0))

    bag, path = [], []
    for _ in range(rounds):
        scores = [of([*bag, k]) for k in range(len(models))]
        bag.append(next(k for k, s in enumerate(scores) if s >= max(scores) - 1e-9))
        path.append((of(bag), tuple(bag)))
    best = max(s for s, _ in path)
    kept = next(bag for s, bag in path if s >= best - 1e-9)
    return np.bincount(kept, minlength=len(models)) / len(kept)


@pytest.mark.parametrize("seed", range(3))
def test_greedy_is_the_selection_as_it_is_told(seed, monkeypatch):
    monkeypatch.setattr(combine, "ROUNDS", 12)
    models = [helpers.make(50, ("a", "b"), seed=10 * seed + k, sharp=0.6, truth=seed) for k in range(4)]
    targets = models[0].targets
    expected = slow_greedy(models, lambda p: -oracle.log_loss(targets, p), 12)
    np.testing.assert_allclose(combine.weigh("greedy", models, "log_loss"), expected)
    expected = slow_greedy(models, lambda p: oracle.balanced_accuracy_score(targets, p.argmax(1)), 12)
    np.testing.assert_allclose(combine.weigh("greedy", models, "balanced_accuracy"), expected)


def test_greedy_is_no_worse_than_the_best_model_and_near_the_best_of_all_weights():
    models = several(3, n=80)
    kept = combine.combine(models, combine.weigh("greedy", models, "log_loss"))
    singles = [metrics.log_loss(one) for one in models]
    grid = [np.array(w) / 20 for w in itertools.product(range(21), repeat=3) if sum(w) == 20]
    best = min(metrics.log_loss(combine.combine(models, w)) for w in grid)
    assert metrics.log_loss(kept) <= min(singles)
    assert metrics.log_loss(kept) == pytest.approx(best, abs=2e-3)


def test_greedy_prefers_the_earlier_of_equals_and_the_smaller_ensemble():
    good, bad = helpers.make(40, sharp=9), helpers.make(40, sharp=0, seed=1)
    np.testing.assert_array_equal(combine.weigh("greedy", [bad, good, good], "log_loss"), [0, 1, 0])
    np.testing.assert_array_equal(combine.weigh("greedy", [good, good, bad], "accuracy"), [1, 0, 0])


def test_greedy_optimises_the_metric_that_is_named():
    models = [helpers.make(60, ("a", "b"), seed=k, sharp=0.3) for k in range(5)]
    for metric in ("recall_a", "auroc", "log_loss"):
        sign = 1 if metrics.higher_is_better(metric) else -1
        kept = combine.combine(models, combine.weigh("greedy", models, metric))
        assert sign * metrics.value(metric, kept) >= max(sign * metrics.value(metric, one) for one in models) - 1e-12


def test_predictions_that_do_not_go_together_are_refused():
    first, second = several(2)
    with pytest.raises(UserError, match="got none"):
        combine.combine([], [])
    with pytest.raises(UserError, match=r"\['a', 'b', 'c'\], got \['a', 'b', 'd'\] as number 2"):
        combine.combine([first, replace(second, classes=("a", "b", "d"))], [1, 1])
    with pytest.raises(UserError, match="same order, got others as number 3"):
        combine.weigh("mean", [first, second, second.where(np.arange(60)[::-1])])
    with pytest.raises(UserError, match="same images"):
        combine.combine([first, replace(second, targets=(second.targets + 1) % 3)], [1, 1])


def test_misspelt_rules_and_metrics_name_the_near_ones():
    with pytest.raises(UserError, match="an ensemble rule, got 'greeedy': did you mean 'greedy'"):
        combine.weigh("greeedy", several())
    with pytest.raises(UserError, match="did you mean 'f1_macro'"):
        combine.weigh("greedy", several(), "f1_marco")


def test_a_metric_without_a_value_is_refused():
    models = several(2, absent=(2,))
    with pytest.raises(UserError, match="'recall_c' to have a value"):
        combine.weigh("greedy", models, "recall_c")


def test_greedy_on_a_soft_metric_looks_at_mixtures_too():
    soft = np.array([[1, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]])
    targets = np.array([0, 1, -1, -1])
    ids, groups = np.array(list("abcd"), dtype=object), np.array(list("ghii"), dtype=object)
    sure = np.array([[1, 0], [0, 1], [1, 0], [1, 0.0]])
    even = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [0.5, 0.5]])
    both = [Predictions(ids, targets, p, groups, ("A", "B"), soft) for p in (sure, even)]
    assert combine.weigh("greedy", both, "rmse").argmax() == 1
    assert combine.weigh("greedy", both, "log_loss").argmax() == 0

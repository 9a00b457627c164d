import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as oracle

from cellml.errors import UserError
from cellml.evaluation import intervals, metrics
from cellml.evaluation.predictions import Predictions
from tests.evaluation import helpers


def expected(p: Predictions) -> dict[str, float]:
    """Every metric by scikit-learn, over the classes present; calibration by the definition."""
    t, q, s = p.targets, p.probabilities, p.probabilities.argmax(1)
    k, present = len(p.classes), np.unique(p.targets)
    known = {
        "accuracy": oracle.accuracy_score(t, s),
        "balanced_accuracy": oracle.balanced_accuracy_score(t, s),
        "mcc": oracle.matthews_corrcoef(t, s),
        "log_loss": oracle.log_loss(t, q, labels=list(range(k))),
        "average_precision": np.mean([oracle.average_precision_score(t == c, q[:, c]) for c in present]),
    }
    for average in ("macro", "weighted"):
        figures = oracle.precision_recall_fscore_support(t, s, labels=present, average=average, zero_division=0)
        known |= {f"{name}_{average}": f for name, f in zip(("precision", "recall", "f1"), figures, strict=False)}
    each = oracle.precision_recall_fscore_support(t, s, labels=list(range(k)), zero_division=0)
    for c, name in enumerate(p.classes):
        there = c in present
        known |= {
            f"{f}_{name}": v[c] if there else np.nan for f, v in zip(("precision", "recall", "f1"), each, strict=False)
        }
        some = there and len(present) > 1
        known[f"auroc_{name}"] = oracle.roc_auc_score(t == c, q[:, c]) if some else np.nan
    areas = [known[f"auroc_{name}"] for name in p.classes]
    known["auroc"] = areas[1] if k == 2 else np.mean([a for a in areas if np.isfinite(a)] or [np.nan])
    error = 0.0
    for m in range(15):
        inside = (q.max(1) > m / 15) & (q.max(1) <= (m + 1) / 15)
        if inside.any():
            error += inside.mean() * abs((s == t)[inside].mean() - q.max(1)[inside].mean())
    known["ece"] = error
    if p.soft_targets is None:
        wanted = np.eye(k)[t]
        known |= {
            "soft_cross_entropy": known["log_loss"],
            "kl": known["log_loss"],
            "brier": oracle.brier_score_loss(t, q, labels=list(range(k)), scale_by_half=False),
            "rmse": np.sqrt(k * oracle.mean_squared_error(wanted, q)),
            "composition_rmse": np.nan,
        }
    return known


def expected_soft(p: Predictions) -> dict[str, float]:
    """The metrics of soft labels by torch, scipy and scikit-learn, over all rows; compositions by definition."""
    t, q = p.soft_targets, p.probabilities
    squares = [
        np.sum((t[p.groups == g].mean(0) - q[p.groups == g].mean(0)) ** 2)
        for g in set(p.groups)
        if (p.groups == g).sum() > 1
    ]
    return {
        "soft_cross_entropy": F.cross_entropy(torch.tensor(q).log(), torch.tensor(t)).item(),
        "kl": stats.entropy(t, q, axis=1).mean(),
        "brier": len(p.classes) * oracle.mean_squared_error(t, q),
        "rmse": np.sqrt(((t - q) ** 2).sum() / len(p)),
        "composition_rmse": np.sqrt(np.mean(squares)) if squares else np.nan,
    }


def agree(p: Predictions) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = expected(p)
    found = metrics.compute(p)
    assert set(found) == set(right)
    for name, value in right.items():
        assert found[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("classes", ["ab", "abc", "abcdefg"])
@pytest.mark.parametrize("sharp", [0, 1, 30])
@pytest.mark.parametrize("decimals", [None, 0])
def test_every_metric_is_scikit_learns(classes, sharp, decimals):
    agree(helpers.make(150, classes, seed=len(classes), sharp=sharp, decimals=decimals))


def test_absent_classes_are_left_out_of_averages_and_have_nan():
    p = helpers.make(100, "abcd", absent=(1,))
    agree(p)
    found = metrics.compute(p)
    assert all(np.isnan(found[f"{f}_b"]) for f in metrics.PER_CLASS)
    assert [name for name in metrics.METRICS if np.isnan(found[name])] == ["composition_rmse"]


@pytest.mark.parametrize("wells", [1, 8, 10_000])
@pytest.mark.parametrize("classes", ["ab", "abcd"])
def test_metrics_of_soft_labels_score_every_row_and_the_others_those_of_known_class(classes, wells):
    p = helpers.soft(150, classes, wells=wells)
    assert 0 < (p.targets >= 0).sum() <= 150
    found, hard = metrics.compute(p), metrics.compute(p.labelled)
    for name, value in expected_soft(p).items():
        assert found[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name
        assert metrics.value(name, p) == pytest.approx(value, abs=1e-9, nan_ok=True), name
    others = [name for name in found if name not in metrics.SOFT]
    assert [found[name] for name in others] == pytest.approx([hard[name] for name in others], nan_ok=True)


def test_soft_labels_that_are_met_leave_the_entropy_and_nothing_else():
    wanted = np.array([[0.5, 0.5, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3]])
    p = helpers.given([-1, 1, -1], wanted, soft_targets=wanted, groups="xxy")
    found = {name: metrics.value(name, p) for name in metrics.SOFT}
    assert found.pop("soft_cross_entropy") == pytest.approx((np.log(2) + np.log(3)) / 3)
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-12)


def test_a_sure_and_wrong_answer_costs_a_finite_soft_loss():
    p = helpers.given([0], [[0.0, 1.0]], soft_targets=[[0.5, 0.5]])
    assert metrics.value("soft_cross_entropy", p) == pytest.approx(-np.log(np.finfo(float).eps) / 2)
    assert np.isfinite(metrics.value("kl", p))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(2, 4).flatmap(
        lambda k: st.lists(
            st.tuples(st.integers(0, k - 1), st.lists(st.integers(1, 4), min_size=k, max_size=k)),
            min_size=1,
            max_size=12,
        )
    )
)
def test_small_and_degenerate_cases_are_scikit_learns(rows):
    targets, weights = zip(*rows, strict=True)
    p = np.array(weights, dtype=float)
    agree(helpers.given(targets, p / p.sum(1, keepdims=True)))


def test_perfect_predictions():
    p = helpers.given([0, 1, 2, 1], np.eye(3)[[0, 1, 2, 1]])
    found = metrics.compute(p)
    errors = [found.pop(name) for name in metrics.LOWER]
    assert set(found.values()) == {1.0}
    assert np.nanmax(errors) == 0


def test_one_class_in_the_targets_has_no_auroc():
    found = metrics.compute(helpers.given([1, 1], [[0.2, 0.8], [0.6, 0.4]]))
    assert np.isnan([found["auroc"], found["auroc_a"], found["auroc_b"], found["recall_a"]]).all()
    assert found["recall_b"] == found["balanced_accuracy"] == 0.5


def test_auroc_of_two_classes_is_of_the_second_ones_probability():
    second = np.array([1e-20, 1e-19, 1e-18, 0.3])  # the first one's saturates at 1 and would tie
    p = helpers.given([0, 0, 1, 1], np.column_stack([1 - second, second]))
    assert metrics.value("auroc", p) == oracle.roc_auc_score(p.targets, second) == 1
    assert metrics.value("auroc_a", p) == 0.75
    samples = intervals.bootstrap(p, ["auroc", "auroc_b"], 50)
    np.testing.assert_array_equal(samples["auroc"].samples, samples["auroc_b"].samples)


def test_a_sure_and_wrong_answer_costs_a_finite_loss():
    assert metrics.value("log_loss", helpers.given([0], [[0.0, 1.0]])) == pytest.approx(-np.log(np.finfo(float).eps))


def test_rows_of_unknown_target_are_left_out():
    p = helpers.make(60)
    some = Predictions(p.ids, np.where(np.arange(60) < 40, p.targets, -1), p.probabilities, p.groups, p.classes)
    assert metrics.compute(some) == pytest.approx(metrics.compute(p.where(np.arange(40))), rel=1e-15, nan_ok=True)


def test_nothing_to_score_is_refused():
    with pytest.raises(UserError, match="known class to score, got none"):
        metrics.compute(helpers.given([-1, -1], [[0.5, 0.5], [0.1, 0.9]]))


def test_probabilities_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match="in 1 of 2 rows: the training has diverged"):
        metrics.value("accuracy", helpers.given([0, 1], [[np.nan, 0.5], [0.1, 0.9]]))


@pytest.mark.parametrize("p", [helpers.make(80, "ab"), helpers.make(80, ("G1_S", "G2/M", "CD4+"), absent=(0,))])
def test_value_is_what_compute_has_and_in_the_same_order(p):
    found = metrics.compute(p)
    assert list(found) == metrics.names(p.classes)
    for name, figure in found.items():
        assert metrics.value(name, p) == pytest.approx(figure, nan_ok=True)
        metrics.check(name, p.classes)


@pytest.mark.parametrize("ask", [metrics.value, lambda n, p: metrics.check(n, p.classes)])
def test_an_unknown_metric_is_refused_with_near_names(ask):
    with pytest.raises(UserError, match=r"got 'recall_mitosis': did you mean .*'recall_mitotic'"):
        ask("recall_mitosis", helpers.make(20, ("mitotic", "other")))


def test_a_class_called_as_a_metrics_ending_is_refused():
    with pytest.raises(UserError, match=r"got 'macro' \(precision_macro\); rename"):
        metrics.names(["micro", "macro"])


def test_which_way_is_better():
    lower = ["log_loss", "ece", "soft_cross_entropy", "brier", "rmse", "kl", "composition_rmse"]
    assert [name for name in metrics.METRICS if not metrics.higher_is_better(name)] == lower
    assert metrics.higher_is_better("recall_mitotic")
    with pytest.raises(UserError, match=r"got 'acuracy': did you mean .*'accuracy'"):
        metrics.higher_is_better("acuracy")


def test_the_majority_baseline_says_the_training_rows_majority():
    p = helpers.make(100, "abc")
    found = metrics.majority_baseline({"b": 30, "a": 10, "c": 0}, p)
    assert (found.predicted == 1).all()
    np.testing.assert_allclose(found.probabilities, np.tile([0.25, 0.75, 0], (100, 1)))
    assert found.ids is p.ids
    assert metrics.value("balanced_accuracy", found) == pytest.approx(1 / 3)
    assert metrics.value("auroc", found) == 0.5
    assert metrics.value("mcc", found) == 0


def test_the_majority_baselines_loss_is_the_entropy_where_frequencies_agree():
    p = helpers.given([0, 0, 0, 1], np.full((4, 2), 0.5))
    loss = metrics.value("log_loss", metrics.majority_baseline({"a": 300, "b": 100}, p))
    assert loss == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))


@pytest.mark.parametrize(("counts", "message"), [({"d": 3}, "got 'd'"), ({"a": 0}, "got none"), ({}, "got none")])
def test_a_baseline_without_a_majority_is_refused(counts, message):
    with pytest.raises(UserError, match=message):
        metrics.majority_baseline(counts, helpers.make(5))

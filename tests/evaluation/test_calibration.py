from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from cellml.errors import UserError
from cellml.evaluation import calibration, metrics
from tests.evaluation import helpers


def test_bins_are_open_below_and_closed_above():
    top = np.array([1 / 15, 1 / 15 + 1e-9, 0.5, 1.0, 14 / 15, 1.0000001])
    table = np.column_stack([top, np.zeros(6)])
    assert calibration.bins(table).tolist() == [0, 1, 7, 14, 13, 14]


def test_every_row_falls_in_the_bin_of_the_papers_definition():
    p = helpers.make(500, seed=3).probabilities
    expected = [next(m for m in range(15) if m / 15 < row.max() <= (m + 1) / 15) for row in p]
    assert calibration.bins(p).tolist() == expected


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (3, 7), (50, 60), (0, 40)])
def test_wilson_is_scipys(right, count):
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    low, high = calibration.wilson(np.array([right]), np.array([count]), z=stats.norm.ppf(0.975))
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)


class Stated(ClassifierMixin, BaseEstimator):
    """Says the logits it is given."""

    def __init__(self, classes):
        self.classes = classes
        self.classes_ = np.arange(classes)

    def fit(self, x, y):
        return self

    def decision_function(self, x):
        return x

    def predict(self, x):
        return x.argmax(1)


@pytest.mark.parametrize("heat", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("classes", ["abc", "abcdef"])
def test_temperature_is_scikit_learns(classes, heat):
    p = helpers.make(400, classes, seed=2)
    logits = heat * np.log(p.probabilities)
    peer = CalibratedClassifierCV(FrozenEstimator(Stated(len(classes))), method="temperature").fit(logits, p.targets)
    stated = replace(p, probabilities=special.softmax(logits, axis=1))
    found = calibration.temperature(stated)
    beta = peer.calibrated_classifiers_[0].calibrators[0].beta_
    assert found == pytest.approx(1 / beta, rel=1e-4)
    np.testing.assert_allclose(calibration.heated(stated.probabilities, found), peer.predict_proba(logits), atol=1e-5)


def test_temperature_undoes_what_was_divided():
    rng = np.random.default_rng(0)
    true = special.softmax(2 * rng.normal(size=(20_000, 3)), axis=1)
    targets = (rng.random((20_000, 1)) > np.cumsum(true, axis=1)).sum(1)
    p = helpers.given(targets, true**3 / (true**3).sum(1, keepdims=True))
    assert calibration.temperature(p) == pytest.approx(3, rel=0.03)


def test_soft_labels_give_the_temperature_of_the_soft_cross_entropy_over_all_rows():
    p = helpers.soft(120, "abc")
    hot = replace(p, soft_targets=calibration.heated(p.probabilities, 2.5), targets=np.full(120, -1))
    assert calibration.temperature(hot) == pytest.approx(2.5, rel=1e-4)
    best = calibration.temperature(p)
    losses = [
        metrics.value("soft_cross_entropy", replace(p, probabilities=calibration.heated(p.probabilities, t)))
        for t in (best, 0.99 * best, 1.01 * best)
    ]
    assert losses[0] < min(losses[1:])


def test_no_loss_is_worse_and_no_answer_changes_under_the_temperature():
    p = helpers.make(300, "abcd", sharp=4)
    heated = replace(p, probabilities=calibration.heated(p.probabilities, calibration.temperature(p)))
    assert metrics.value("log_loss", heated) < metrics.value("log_loss", p)
    np.testing.assert_array_equal(heated.predicted, p.predicted)


@pytest.mark.parametrize(("targets", "edge"), [([0, 1], calibration.COLDEST), ([1, 0], calibration.HOTTEST)])
def test_rows_that_are_all_right_or_all_wrong_stop_at_the_edge(targets, edge):
    p = helpers.given(targets, [[0.6, 0.4], [0.0, 1.0]])
    assert calibration.temperature(p) == pytest.approx(edge, rel=1e-3)


@pytest.mark.parametrize(
    "p", [helpers.given([-1, -1], [[0.5, 0.5], [0.1, 0.9]]), helpers.given([0, 1], [[np.nan, 0.5], [0.1, 0.9]])]
)
def test_nothing_to_calibrate_on_is_refused(p):
    with pytest.raises(UserError, match="validation rows to calibrate on, got"):
        calibration.temperature(p)


def test_balanced_is_platt_scaling_of_reweighted_rows_as_scikit_learn_fits_it():
    p = helpers.make(400, "ab", seed=3)
    odds = np.log(p.probabilities[:, 1] / p.probabilities[:, 0])
    peer = LogisticRegression(C=np.inf, class_weight="balanced", tol=1e-10).fit(odds[:, None], p.targets)
    temperature, offsets = calibration.balanced(p)
    assert temperature == pytest.approx(1 / peer.coef_[0, 0], rel=1e-3)
    scaled = calibration.heated(p.probabilities, temperature, offsets)
    np.testing.assert_allclose(scaled, peer.predict_proba(odds[:, None]), atol=1e-4)
    assert sum(offsets) == pytest.approx(0, abs=1e-9)


def test_balanced_undoes_rare_classes_and_soft_training():
    """Probabilities at frequencies 0.7, 0.2, 0.1, made too sure: equal frequencies come back."""
    rng = np.random.default_rng(0)
    prior = np.array([0.7, 0.2, 0.1])
    targets = rng.choice(3, 60_000, p=prior)
    x = rng.normal(size=(len(targets), 3)) + 1.2 * np.eye(3)[targets]
    even = special.softmax(1.2 * x, axis=1)  # exact for equally frequent classes
    stated = special.softmax(2 * (np.log(even) + np.log(prior)), axis=1)
    p = helpers.given(targets, stated, classes="abc")
    temperature, offsets = calibration.balanced(p)
    assert temperature == pytest.approx(2, rel=0.03)
    np.testing.assert_allclose(calibration.heated(stated, temperature, offsets), even, atol=0.03)
    best = metrics.value("balanced_accuracy", helpers.given(targets, even, classes="abc"))
    fitted = helpers.given(targets, calibration.heated(stated, temperature, offsets), classes="abc")
    assert metrics.value("balanced_accuracy", fitted) == pytest.approx(best, abs=0.003)
    assert metrics.value("balanced_accuracy", p) < best - 0.05


def test_balanced_leaves_a_class_without_rows_alone_and_stops_at_the_edge():
    p = helpers.given([0, 1, 0, 1], [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.4, 0.5, 0.1], [0.5, 0.4, 0.1]], classes="abc")
    assert calibration.balanced(p)[1][2] == 0
    sure = helpers.given([0, 1], [[0.6, 0.4], [0.0, 1.0]])
    assert calibration.balanced(sure)[0] >= calibration.COLDEST
    with pytest.raises(UserError, match=r"set train\.calibrate: none"):
        calibration.balanced(helpers.given([-1, -1], [[0.5, 0.5], [0.1, 0.9]]))

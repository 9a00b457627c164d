from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as oracle

from cellml.evaluation import composition, metrics, quantify
from tests.evaluation import helpers
from tests.evaluation.test_figures import LONG, rendered, texts


def test_each_population_has_its_true_and_mean_predicted_shares():
    p = helpers.soft(200, "abc", wells=5)
    found = composition.table(p, resamples=50)
    assert tuple(found.columns) == composition.COLUMNS
    assert len(found) == 15
    for group, rows in found.groupby("group"):
        inside = p.groups == group
        assert set(rows["images"]) == {inside.sum()}
        assert rows["class"].tolist() == list("abc")
        np.testing.assert_allclose(rows["true"], p.soft_targets[inside].mean(0))
        np.testing.assert_allclose(rows["predicted"], p.probabilities[inside].mean(0))
    assert found[["adjusted_count", "prior_corrected"]].isna().all(axis=None)


def test_intervals_are_scipys_over_a_populations_images():
    p = helpers.soft(150, "ab", wells=2)
    for row in composition.table(p, resamples=20_000).to_dict("records"):
        values = p.probabilities[p.groups == row["group"], "ab".index(row["class"])]
        peer = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
        error = 0.05 * (peer.high - peer.low)
        assert (row["low"], row["high"]) == pytest.approx((peer.low, peer.high), abs=error)


def test_the_same_seed_gives_the_same_table():
    p = helpers.soft(60)
    first, again, other = (composition.table(p, resamples=50, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert (first["low"] != other["low"]).any()


def test_calibrated_variants_use_validation_confusions_and_the_training_prior():
    p, validation = helpers.soft(120, "abc", wells=4), helpers.soft(300, "abc", seed=5, wells=30, truth=5)
    known = validation.labelled
    counts = oracle.confusion_matrix(known.targets, known.predicted)
    found = composition.table(p, validation, {"b": 30, "a": 50, "c": 20}, resamples=20)
    for group, rows in found.groupby("group"):
        inside = p.probabilities[p.groups == group]
        said = np.bincount(inside.argmax(1), minlength=3) / len(inside)
        np.testing.assert_allclose(rows["adjusted_count"], quantify.adjusted_count(said, counts))
        np.testing.assert_allclose(rows["prior_corrected"], quantify.prior_corrected(inside, [50, 30, 20]))


def test_corrections_come_nearer_where_the_classifier_is_biased():
    """Posteriors of two normal classes that assume three rows of a for one of b, on wells of other ratios."""
    rng = np.random.default_rng(3)
    prior = np.array([0.75, 0.25])

    def posterior(b):
        x = rng.normal(np.where(b, 1.0, -1.0))
        joint = prior * np.column_stack([stats.norm.pdf(x, -1), stats.norm.pdf(x, 1)])
        return joint / joint.sum(1, keepdims=True)

    shares = np.repeat([0.2, 0.5, 0.8], 400)
    wells = helpers.given(
        np.full(1200, -1),
        posterior(rng.random(1200) < shares),
        groups=shares,
        soft_targets=np.column_stack([1 - shares, shares]),
    )
    truth = rng.random(2000) < 0.25
    validation = helpers.given(truth.astype(int), posterior(truth))
    found = composition.table(wells, validation, {"a": 75, "b": 25}, resamples=10)
    errors = composition.summary(wells, found).set_index("estimate")["rmse_population"]
    assert errors["predicted"] > 0.15
    assert errors["adjusted_count"] < 0.06
    assert errors["prior_corrected"] < 0.06


def test_summary_is_the_metrics_and_scikit_learns():
    p = helpers.soft(150, "abc", wells=6)
    shares = composition.table(p, p, resamples=10)
    found = composition.summary(p, shares).set_index("estimate")
    assert list(found.index) == list(composition.ESTIMATES)
    assert found.loc["predicted", "rmse_image"] == pytest.approx(metrics.value("rmse", p))
    assert found.loc["predicted", "rmse_population"] == pytest.approx(metrics.value("composition_rmse", p))
    for name in ("predicted", "adjusted_count"):
        assert found.loc[name, "mae"] == pytest.approx(oracle.mean_absolute_error(shares["true"], shares[name]))
        squared = oracle.mean_squared_error(shares["true"], shares[name])
        assert found.loc[name, "rmse_population"] == pytest.approx(np.sqrt(3 * squared))
    assert found.loc["prior_corrected"].isna().all()


def test_rows_outside_populations_do_not_count_for_the_populations_images():
    p = helpers.soft(40, "ab", wells=3)
    alone = replace(p.where([0]), ids=np.array(["x"]), groups=np.array(["alone"]), probabilities=np.array([[0.0, 1.0]]))
    both = helpers.given(
        [*p.targets, *alone.targets],
        np.concatenate([p.probabilities, alone.probabilities]),
        groups=[*p.groups, "alone"],
        soft_targets=np.concatenate([p.soft_targets, alone.soft_targets]),
    )
    tables = [composition.table(one, resamples=10) for one in (p, both)]
    pd.testing.assert_frame_equal(*tables)
    pd.testing.assert_frame_equal(composition.summary(p, tables[0]), composition.summary(both, tables[1]))


@pytest.mark.parametrize("p", [helpers.make(20, "ab", groups=3), helpers.soft(8, "ab", wells=10**4)])
def test_without_populations_there_are_no_rows_and_a_note(p):
    found = composition.table(p, p, {"a": 1, "b": 1})
    assert len(found) == 0
    assert composition.summary(p, found).drop(columns="estimate").isna().all(axis=None)
    assert "no composition" in texts(composition.figure(found))[0]


@pytest.mark.parametrize("classes", [("a", "b"), LONG])
def test_the_figure_shows_every_share_with_its_interval(classes):
    found = composition.table(helpers.soft(120, classes, wells=6), resamples=50)
    drawn = composition.figure(found)
    assert rendered(drawn).width == 704
    shown = {
        (round(y, 9), round(low, 9), round(high, 9))
        for bars in drawn.axes[0].containers
        for y, ((_, low), (_, high)) in zip(bars.lines[0].get_ydata(), bars.lines[2][0].get_segments(), strict=True)
    }
    wanted = {tuple(round(row[c], 9) for c in ("predicted", "low", "high")) for row in found.to_dict("records")}
    assert shown == wanted
    assert [text.get_text().split("  ")[0] for text in drawn.legends[0].get_texts()] == [
        f"{(rows['true'] - rows['predicted']).abs().mean():.3f}" for _, rows in found.groupby("class", sort=False)
    ]

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cellml.errors import UserError
from cellml.evaluation import intervals, metrics
from cellml.evaluation.predictions import Predictions
from cellml.registry import Registry
from tests.evaluation import helpers


def resampled(p: Predictions, seed: int, resamples: int) -> list[Predictions]:
    """The resamples written out row by row; a group drawn twice is two groups."""
    names = sorted(set(p.groups))
    made = []
    for chunk in intervals.multiplicities(len(names), resamples, seed):
        for times in chunk.T:
            drawn = [(f"{name} {d}", name) for name, t in zip(names, times, strict=True) for d in range(int(t))]
            rows = [np.flatnonzero(p.groups == name) for _, name in drawn]
            groups = np.repeat(np.array([label for label, _ in drawn], dtype=object), [len(r) for r in rows])
            made.append(replace(p.where(np.concatenate(rows)), groups=groups))
    return made


@pytest.mark.parametrize(
    "p",
    [
        helpers.make(40, "ab", decimals=0),
        helpers.make(60, "abc", groups=7),
        helpers.make(12, "abcd", seed=4),  # most resamples miss a class
        helpers.make(30, "abc", groups=4, absent=(1,)),
        helpers.soft(40, "abc", wells=7, mixed=0),
    ],
    ids=["images", "groups", "few", "absent", "soft"],
)
def test_every_metric_is_that_of_the_rows_drawn(p):
    names = metrics.names(p.classes)
    found = intervals.bootstrap(p, names, resamples=25, seed=3)
    for r, one in enumerate(resampled(p, 3, 25)):
        right = metrics.compute(one)
        for name in names:
            assert found[name].samples[r] == pytest.approx(right[name], abs=1e-9, nan_ok=True), name


def test_metrics_of_soft_labels_are_resampled_over_all_groups_and_the_others_over_those_of_known_class():
    p = helpers.soft(60, "abc", wells=9)
    names = metrics.names(p.classes)
    found = intervals.bootstrap(p, names, resamples=25, seed=3)
    soft, hard = resampled(p, 3, 25), resampled(p.labelled, 3, 25)
    for name in names:
        rows = soft if name in metrics.SOFT else hard
        right = [metrics.value(name, one) for one in rows]
        assert found[name].samples.tolist() == pytest.approx(right, abs=1e-9, nan_ok=True), name
    alone = intervals.bootstrap(p, ["rmse"], resamples=25, seed=3)["rmse"]
    np.testing.assert_array_equal(alone.samples, found["rmse"].samples)


def test_a_metric_of_groups_that_is_only_registered_sees_every_draw_as_a_group(monkeypatch):
    registry: Registry = Registry("metric")

    @registry.register("groups")
    def groups(predictions):
        """Number of groups."""
        return float(len(set(predictions.groups)))

    monkeypatch.setattr(metrics, "METRICS", registry)
    found = intervals.bootstrap(helpers.make(30, "ab", groups=6), ["groups"], resamples=20)["groups"].samples
    assert set(found) == {6.0}


def test_a_metric_that_is_only_registered_is_resampled_too(monkeypatch):
    registry: Registry = Registry("metric")
    for name in metrics.METRICS:
        registry.register(name)(metrics.METRICS[name])

    @registry.register("surest")
    def surest(predictions):
        """Mean highest probability."""
        return float(predictions.probabilities.max(1).mean())

    monkeypatch.setattr(metrics, "METRICS", registry)
    p = helpers.make(30, "ab", groups=6)
    found = intervals.bootstrap(p, ["surest"], resamples=20, seed=1)["surest"].samples
    assert found == pytest.approx([surest(one) for one in resampled(p, 1, 20)])


def test_strata_keep_their_numbers_and_are_drawn_by_themselves():
    strata = np.array([1, 0, 1, 0, 0, 2])
    found = np.concatenate(list(intervals.stratified(strata, 3000, 0)), axis=1)
    for stratum, count in ((0, 3), (1, 2), (2, 1)):
        assert (found[strata == stratum].sum(axis=0) == count).all()
    assert found[strata == 0].mean(axis=1) == pytest.approx([1, 1, 1], abs=0.05)
    assert np.corrcoef(found[0], found[1])[0, 1] == pytest.approx(0, abs=0.06)


def test_the_caution_says_what_is_few():
    assert intervals.caution(list("abcde")) is None
    assert intervals.caution(list("aabb"), "the control comes").startswith("the control comes from 2 groups:")


def test_multiplicities_are_multinomial():
    chunks = list(intervals.multiplicities(2000, 1000, 0))
    assert len(chunks) > 1
    drawn = np.concatenate(chunks, axis=1)
    assert drawn.shape == (2000, 1000)
    assert (drawn.sum(0) == 2000).all()
    share = np.bincount(drawn.astype(int).ravel(), minlength=8)[:8] / drawn.size
    np.testing.assert_allclose(share, stats.binom.pmf(np.arange(8), 2000, 1 / 2000), atol=2e-3)


def test_the_same_seed_gives_the_same_samples_and_another_does_not():
    p = helpers.make(50, "ab")
    first, again, other = (intervals.bootstrap(p, ["auroc"], 50, seed)["auroc"].samples for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "auroc", "log_loss"])
def test_image_intervals_are_scipys(name):
    p = helpers.make(150, "ab", seed=2)
    rows = np.arange(len(p))
    peer = stats.bootstrap(
        (rows,),
        lambda drawn: metrics.value(name, p.where(drawn)),
        n_resamples=2000,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    mine = intervals.bootstrap(p, [name], 20000, seed=5)[name]
    error = 0.1 * (peer.high - peer.low)  # five standard errors of a 2.5th percentile of 2,000
    assert (mine.low, mine.high) == pytest.approx((peer.low, peer.high), abs=error)


def test_group_intervals_are_scipys_over_the_groups():
    p = helpers.make(600, "abc", groups=30, seed=1, sharp=0.5)
    labels = sorted(set(p.groups))
    right = np.array([(p.predicted == p.targets)[p.groups == g].sum() for g in labels])
    size = np.array([(p.groups == g).sum() for g in labels])
    peer = stats.bootstrap(
        (right, size),
        lambda r, n, axis=-1: r.sum(axis) / n.sum(axis),
        n_resamples=20000,
        paired=True,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    mine = intervals.bootstrap(p, ["accuracy"], 20000)["accuracy"]
    assert (mine.low, mine.high) == pytest.approx((peer.low, peer.high), abs=0.004)


def test_images_of_a_group_are_not_counted_as_independent():
    p = helpers.make(40, "ab", seed=3)
    copies = p.where(np.repeat(np.arange(40), 25))
    ids = np.array([f"c{j}" for j in range(1000)], dtype=object)
    grouped = Predictions(ids, copies.targets, copies.probabilities, copies.groups, copies.classes)
    alone = Predictions(ids, copies.targets, copies.probabilities, ids, copies.classes)
    width = {}
    for key, one in (("few", p), ("grouped", grouped), ("alone", alone)):
        found = intervals.bootstrap(one, ["accuracy"], 2000)["accuracy"]
        width[key] = found.high - found.low
    assert width["grouped"] == pytest.approx(width["few"])
    assert width["alone"] == pytest.approx(width["few"] / 5, rel=0.25)


def test_a_95_percent_interval_covers_the_truth_about_95_times_in_a_hundred():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        right = rng.random(120) < 0.7
        p = helpers.given(np.zeros(120), np.column_stack([right, ~right]))
        found = intervals.bootstrap(p, ["accuracy"], 400)["accuracy"]
        covered += found.low <= 0.7 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


@pytest.mark.parametrize("p", [helpers.make(1, "ab"), helpers.make(20, "ab", groups=1)])
def test_fewer_than_two_groups_say_nothing(p):
    found = intervals.bootstrap(p, ["accuracy"], 10)["accuracy"]
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(found.samples).all()


def test_undefined_resamples_are_not_counted():
    found = intervals.interval(np.array([np.nan, 1.0, 2.0, np.nan, 3.0]))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile([1, 2, 3], [2.5, 97.5])))


def test_paired_columns_are_each_models_own_bootstrap_whatever_the_order_of_rows():
    models = [helpers.make(90, "abc", seed=s, groups=12) for s in (1, 2, 3)]
    shuffled = [m.where(np.random.default_rng(s).permutation(90)) for s, m in enumerate(models)]
    table = intervals.paired([models[0], *shuffled[1:]], "f1_macro", 300, seed=9)
    assert table.shape == (300, 3)
    for m, model in enumerate(models):
        np.testing.assert_allclose(table[:, m], intervals.bootstrap(model, ["f1_macro"], 300, 9)["f1_macro"].samples)


def changed(**values):
    p = helpers.make(20, "ab", seed=1)
    fields = {name: values.get(name, getattr(p, name)) for name in ("ids", "targets", "probabilities", "groups")}
    return Predictions(**fields, classes=values.get("classes", p.classes), soft_targets=values.get("soft_targets"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (changed(classes=("a", "c")), r"same classes, got \['a', 'b'\] and \['a', 'c'\]"),
        (helpers.make(19, "ab"), "same 20 labelled images, got 19 other ones"),
        (changed(ids=np.array([f"x{j}" for j in range(20)], dtype=object)), "same 20 labelled images"),
        (changed(targets=1 - helpers.make(20, "ab").targets), "same targets for every model, got 20"),
        (changed(groups=np.full(20, "g", dtype=object)), "same groups for every model, got 20"),
        (changed(soft_targets=np.full((20, 2), 0.5)), "same soft targets for every model, got 20"),
    ],
)
def test_models_that_saw_something_else_are_refused(other, message):
    with pytest.raises(UserError, match=message):
        intervals.paired([helpers.make(20, "ab"), other], "accuracy", 10)


def test_an_unknown_metric_is_refused():
    with pytest.raises(UserError, match=r"got 'acuracy': did you mean .*'accuracy'"):
        intervals.bootstrap(helpers.make(20), ["acuracy"])


def test_p_follows_its_formula():
    samples = np.array([[0.9, 0.8, 0.9, np.nan], [0.9, 0.95, 0.9, np.nan], [0.9, 0.8, 0.9, np.nan]])
    p = intervals.p_vs_best(samples, [0.9, 0.85, 0.9, np.nan])
    # differences of the second: 0.1, -0.05, 0.1: one of three at most 0, two at least 0
    assert p.tolist() == pytest.approx([1, 2 * (1 + 1) / 4, 1, np.nan], nan_ok=True)
    clear = intervals.p_vs_best(np.tile([0.9, 0.5], (999, 1)), [0.9, 0.5])
    assert clear.tolist() == [1, 2 / 1000]


def test_p_turns_round_where_less_is_better():
    losses = np.tile([0.9, 0.5], (99, 1))
    assert intervals.p_vs_best(losses, [0.9, 0.5], higher=False).tolist() == [0.02, 1]


def test_p_without_any_score_is_nan():
    assert np.isnan(intervals.p_vs_best(np.full((5, 2), np.nan), [np.nan, np.nan])).all()


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_p_is_about_that_of_a_paired_t_test(seed):
    models = [helpers.make(800, "ab", seed=seed, sharp=1.2), helpers.make(800, "ab", seed=seed + 10, sharp=1.0)]
    right = [m.predicted == m.targets for m in models]
    expected = stats.ttest_rel(*[r.astype(float) for r in right]).pvalue
    samples = intervals.paired(models, "accuracy", 5000)
    p = intervals.p_vs_best(samples, [r.mean() for r in right])
    assert p.min() == pytest.approx(expected, abs=0.04)

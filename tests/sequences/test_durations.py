import numpy as np
import pytest
from scipy import optimize, stats

from cellml.sequences import durations
from cellml.sequences.decode import Lengths


def of(stages, frames, cut):
    return durations.Segments(np.array(stages), np.array(frames), np.array(cut))


def test_segments_know_where_ends_or_unknown_frames_cut_them():
    labels = [np.array([0, 0, 1, 1, 1, 0]), np.array([2]), np.array([-1, 0, 1, 1, 2, -1, 2, 0, 0])]
    found = durations.segments(labels)
    assert found.stages.tolist() == [0, 1, 0, 2, 0, 1, 2, 2, 0]
    assert found.frames.tolist() == [2, 3, 1, 1, 1, 2, 1, 1, 2]
    assert found.cut.tolist() == [True, False, True, True, True, False, True, True, True]
    assert len(durations.segments([]).stages) == 0


@pytest.mark.parametrize("mean", [4.0, 20.0])
def test_means_maximise_the_likelihood_of_lengths_of_which_some_are_cut(mean):
    rng = np.random.default_rng(0)
    lasted, seen = rng.poisson(mean, 400), rng.integers(1, 2 * mean, 400)
    keep = lasted > 0
    frames, cut = np.minimum(lasted, seen)[keep], (seen < lasted)[keep]

    def loss(rate):
        return -np.where(cut, stats.poisson.logsf(frames - 1, rate), stats.poisson.logpmf(frames, rate)).sum()

    right = optimize.minimize_scalar(loss, bounds=(1, 50), method="bounded").x
    found = durations.means(of(np.zeros(len(frames), int), frames, cut), 2)
    assert found[0] == pytest.approx(right, rel=1e-3)
    assert found[1] == pytest.approx(frames.mean())  # a class without segments


def test_means_of_segments_that_are_not_cut_are_plain_means():
    assert durations.means(of([0, 0, 1], [3, 6, 2], [False] * 3), 2).tolist() == [4.5, 2]


def test_a_class_that_is_always_cut_lasts_longer_than_what_is_seen_of_it():
    found = durations.means(of([0] * 3, [5, 8, 400], [True] * 3), 1)
    assert 137 < found[0] <= 800


def test_the_length_model_is_the_one_asked_for():
    found = of([0, 0, 0, 1], [3, 3, 9, 2], [False, False, True, True])
    means = tuple(durations.means(found, 2).tolist())
    assert durations.lengths(found, 2, "none") is None
    assert durations.lengths(found, 2, "poisson") == Lengths(means)
    assert durations.lengths(found, 2, "poisson", [7, 2]) == Lengths((7.0, 2.0))
    histogram = durations.lengths(found, 2, "histogram")
    assert (histogram.means, histogram.counts[1]) == (means, ())
    counts = np.array(histogram.counts[0])
    assert counts.sum() == pytest.approx(3)
    assert counts[17] == pytest.approx(1)  # longer than the longest of 9 frames


def test_histograms_spread_the_estimate_of_kaplan_and_meier():
    rng = np.random.default_rng(1)
    lasted, seen = rng.poisson(12, 300) + 1, rng.integers(1, 40, 300)
    frames, cut = np.minimum(lasted, seen), seen < lasted
    made = durations.lengths(of([0] * 300, frames, cut), 1, "histogram")
    sample = stats.CensoredData.right_censored(frames, cut)
    curve = stats.ecdf(sample).sf
    ours = 1 - np.cumsum(made.counts[0]) / 300
    np.testing.assert_allclose(ours[: frames.max()], curve.evaluate(np.arange(1, frames.max() + 1)), atol=0.05)
    mean = (np.arange(1, len(made.counts[0]) + 1) * made.counts[0]).sum() / 300
    steps = -np.diff([1, *curve.probabilities])
    assert mean == pytest.approx((steps * curve.quantiles).sum(), abs=0.3)


def test_equal_lengths_stay_where_they_are():
    made = durations.lengths(of([0] * 4, [5] * 4, [False] * 4), 1, "histogram")
    assert int(np.argmax(made.counts[0])) == 4
    assert made.counts[0][4] > 3

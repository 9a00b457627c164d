"""Lengths from transcripts alone, against all ways to divide sequences, one by one."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from cellml.sequences import transcripts
from tests.sequences import helpers

MEANS = np.array([3.0, 1.5, 2.5])
KINDS = [
    ((0, 1, 2), 7, (True, True)),
    ((0, 1, 2), 7, (False, True)),
    ((1, 0), 5, (True, False)),
    ((2,), 4, (False, True)),
    ((0, 1, 0, 2), 6, (False, False)),
]


def ways(kind):
    """Every division of a sequence, its share of all, and which of its segments are cut."""
    stages, frames, ends = kind
    cut = [(ends[0] and k == 0) or (ends[1] and k == len(stages) - 1) for k in range(len(stages))]
    divisions = list(helpers.cuts(stages, frames))
    scores = [
        sum(helpers.poisson(MEANS[s], n, c) for s, n, c in zip(stages, one, cut, strict=True)) for one in divisions
    ]
    shares = np.exp(scores) / np.exp(scores).sum()
    return divisions, shares, cut


@pytest.mark.parametrize("kind", KINDS)
def test_expected_values_are_those_over_all_divisions(kind):
    divisions, shares, _ = ways(kind)
    chances = transcripts._chances(kind, *transcripts._tables(MEANS, kind[1]))
    values = [np.arange(1.0, kind[1] + 1) ** 2] * len(kind[0])
    found = transcripts._expected(kind[1], chances, values)
    np.testing.assert_allclose(found, shares @ np.array(divisions) ** 2)


@pytest.mark.parametrize("kind", KINDS)
def test_divisions_come_as_often_as_they_are_likely(kind):
    divisions, shares, _ = ways(kind)
    rng = np.random.default_rng(0)
    drawn = [transcripts.divided(kind, MEANS, rng) for _ in range(2000)]
    counts = Counter(tuple(helpers.segments(one.tolist())[1]) for one in drawn)
    assert sum(counts[one] for one in divisions) == 2000
    seen = np.array([counts[one] for one in divisions])
    likely = shares * 2000 >= 5
    if likely.sum() > 1:
        observed, expected = seen[likely], shares[likely] * seen[likely].sum() / shares[likely].sum()
        assert stats.chisquare(observed, expected).pvalue > 0.001


def test_means_are_where_the_likelihood_of_the_transcripts_is_highest():
    """Cells followed from birth for some frames: whether they have left their first stage is all that is known."""
    rng = np.random.default_rng(1)
    frames = rng.integers(2, 16, 500)
    lists = [(0, 1) if lasting < seen else (0,) for lasting, seen in zip(rng.poisson(6, 500) + 1, frames, strict=True)]
    found = transcripts.means(lists, frames.tolist(), [(False, True)] * 500, 2)

    def likelihood(mean):
        left = np.array([len(one) == 2 for one in lists])
        stayed = stats.poisson.sf(frames - 1, mean) / stats.poisson.sf(0, mean)
        return np.log(np.where(left, 1 - stayed, stayed)).sum()

    grid = np.arange(4, 10, 0.02)
    best = grid[np.argmax([likelihood(mean) for mean in grid])]
    assert found[0] == pytest.approx(best, abs=0.35)


def test_a_stage_that_no_transcript_has_lasts_as_long_as_the_others():
    assert transcripts.means([(0,), (0,)], [4, 6], [(False, False)] * 2, 2).tolist() == pytest.approx([5, 5])

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from cellml.evaluation import ranking

ROWS = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25)


def arrays(rows):
    score, positive, weight = zip(*rows, strict=True)
    return np.array(score) / 5, np.array(positive), np.array(weight, dtype=float)[:, None]


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_auroc_counts_weighted_pairs(rows):
    scores, positive, weights = arrays(rows)
    w = weights[:, 0]
    pairs = wins = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            pairs += w[i] * w[j]
            wins += w[i] * w[j] * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    expected = wins / pairs if pairs else np.nan
    np.testing.assert_allclose(ranking.auroc(scores, positive, weights), [expected], atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_average_precision_is_scikit_learns_with_weights(rows):
    scores, positive, weights = arrays(rows)
    found = ranking.average_precision(scores, positive, weights)[0]
    if not weights[positive].sum():
        assert np.isnan(found)
    else:
        kept = weights[:, 0] > 0
        expected = oracle.average_precision_score(positive[kept], scores[kept], sample_weight=weights[kept, 0])
        assert found == pytest.approx(expected, abs=1e-12)


def test_auroc_is_scikit_learns_with_weights():
    rng = np.random.default_rng(0)
    scores, positive = np.round(rng.normal(size=300), 1), rng.random(300) < 0.2
    weights = rng.integers(0, 4, (300, 7)).astype(float)
    expected = [oracle.roc_auc_score(positive, scores, sample_weight=w) for w in weights.T]
    np.testing.assert_allclose(ranking.auroc(scores, positive, weights), expected, atol=1e-12)
    expected = [oracle.roc_auc_score(~positive, -scores, sample_weight=w) for w in weights.T]
    np.testing.assert_allclose(ranking.auroc(-scores, ~positive, weights), expected, atol=1e-12)


def test_curve_gives_scikit_learns_roc_and_precision_recall():
    rng = np.random.default_rng(2)
    scores, positive = np.round(rng.random(200), 2), rng.random(200) < 0.3
    cuts, true, false = ranking.curve(scores, positive)
    x, y, thresholds = oracle.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(cuts, thresholds)
    np.testing.assert_allclose(false / false[-1], x)
    np.testing.assert_allclose(true / true[-1], y)
    precision, recall, _ = oracle.precision_recall_curve(positive, scores)
    np.testing.assert_allclose((true[1:] / (true + false)[1:])[::-1], precision[:-1])
    np.testing.assert_allclose((true[1:] / true[-1])[::-1], recall[:-1])


def test_curve_of_one_row():
    cuts, true, false = ranking.curve(np.array([0.4]), np.array([True]))
    assert (cuts.tolist(), true.tolist(), false.tolist()) == ([np.inf, 0.4], [0, 1], [0, 0])


@pytest.mark.parametrize("decimals", [1, 8])
def test_auroc_of_groups_drawn_again_is_that_of_the_rows_by_rows_and_by_pairs_of_groups(decimals):
    rng = np.random.default_rng(0)
    groups, positive = rng.integers(0, 6, 80), rng.random(80) < 0.4
    scores = np.round(rng.random(80) + 0.3 * positive, decimals)
    drawn = rng.multinomial(6, np.full(6, 1 / 6), 20).T.astype(float)
    won = ranking.wins(scores, positive, groups, 6)
    over, under = (np.bincount(groups[rows], minlength=6) for rows in (positive, ~positive))
    for r, times in enumerate(drawn.T):
        rows = np.repeat(np.arange(80), times[groups].astype(int))
        right = oracle.roc_auc_score(positive[rows], scores[rows])
        assert ranking.auroc(scores, positive, drawn, groups)[r] == pytest.approx(right)
        assert times @ won @ times / (times @ over) / (times @ under) == pytest.approx(right)
        right = oracle.average_precision_score(positive[rows], scores[rows])
        assert ranking.average_precision(scores, positive, drawn, groups)[r] == pytest.approx(right)


def test_blocks_of_columns_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    scores, positive, weights = rng.random(30), rng.random(30) < 0.5, rng.integers(0, 3, (30, 25)).astype(float)
    whole = [of(scores, positive, weights) for of in (ranking.auroc, ranking.average_precision)]
    monkeypatch.setattr(ranking, "_CELLS", 90)
    np.testing.assert_array_equal(
        whole, [of(scores, positive, weights) for of in (ranking.auroc, ranking.average_precision)]
    )

import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from cellml.compare import pareto, table
from cellml.config import Compare
from tests.compare.conftest import COST, evaluated


def test_front_is_what_no_pair_beats():
    rng = np.random.default_rng(0)
    cost, score = rng.integers(1, 8, 40).astype(float), rng.integers(0, 8, 40) / 8
    cost[3], score[5] = np.nan, np.nan
    expected = [
        np.isfinite(cost[i] + score[i])
        and not any(
            cost[j] <= cost[i] and score[j] >= score[i] and (cost[j] < cost[i] or score[j] > score[i])
            for j in range(40)
        )
        for i in range(40)
    ]
    assert pareto.front(cost, score).tolist() == expected
    assert 0 < sum(expected) < 20


def test_labels_keep_their_distance_and_stay_below_the_top():
    heights = pareto.spread([0.1, 0.11, 0.12, 0.9, 0.99, 1.0], 0.1, 1.0)
    assert np.diff(heights).min() >= 0.1 - 1e-12
    assert heights[0] == 0.1
    assert heights[-1] == 1.0
    assert pareto.spread([0.2, 0.5], 0.1, 1.0).tolist() == [0.2, 0.5]


@pytest.fixture
def drawn(test_rows, train_counts):
    """Twelve models of rising cost and skill, and one that is slow and bad."""
    models = []
    for i in range(13):
        one = evaluated(test_rows, f"a_backbone_with_a_long_name_{i}", 0.2 + 0.3 * i * (i < 12), seed=i)
        models.append(dataclasses.replace(one, cost=dataclasses.replace(COST, ms_batch_1=2.0 + i)))
    built = table.build(models, test_rows, train_counts, Compare(resamples=100))
    return built, pareto.draw(built)


def test_the_front_is_named_and_no_two_labels_overlap(drawn):
    built, figure = drawn
    models = built[built["ms_batch_1"].notna()]
    front = pareto.front(models["ms_batch_1"], models["balanced_accuracy"])
    axes = figure.axes[0]
    labels = [text for text in axes.texts if text.get_text()]
    assert len(labels) == front.sum() >= 5
    FigureCanvasAgg(figure).draw()
    boxes = [Text.get_window_extent(text) for text in labels]  # without the line to its point
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert min(box.x0 for box in boxes) > axes.get_window_extent().x1
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    wanted = models.loc[front].sort_values("balanced_accuracy")
    np.testing.assert_allclose([label.xy for label in labels], wanted[["ms_batch_1", "balanced_accuracy"]])


def test_intervals_are_the_tables(drawn):
    built, figure = drawn
    ends = {round(y, 9) for bars in figure.axes[0].collections for part in bars.get_segments() for y in part[:, 1]}
    models = built[built["ms_batch_1"].notna()]
    assert ends >= {round(y, 9) for y in [*models["balanced_accuracy_low"], *models["balanced_accuracy_high"]]}

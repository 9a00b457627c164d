import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cellml.compare import rank_figure, table
from cellml.config import Compare
from tests.compare.conftest import elsewhere, evaluated


@pytest.mark.parametrize("count", [2, 5, 24])
def test_each_model_is_named_once_at_its_rank_and_no_text_overlaps(test_rows, train_counts, count):
    models = [evaluated(test_rows, f"backbone_of_some_length_{i}", 0.3 * i, seed=i) for i in range(count)]
    externals = []
    for k in range(3):
        external, models = elsewhere(models, f"set{k}", seed=k)
        externals.append(external)
    built = table.build(models, test_rows, train_counts, Compare(resamples=100), externals=externals)
    figure = rank_figure.draw(built)
    axes = figure.axes[0]
    texts = {text.get_text().strip(): text for text in axes.texts}
    shown = [text for text in texts if "v1" in text]
    ranks = sorted(
        float(part) for text in shown for part in (text.split()[0], text.split()[-1]) if part[0] in "0123456789"
    )
    assert ranks == pytest.approx(sorted(built.attrs["sets"].average)[: rank_figure.LISTED], abs=0.0051)
    assert any("4 data sets" in text for text in texts)
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_bars_join_what_cannot_be_told_apart(test_rows, train_counts):
    models = [evaluated(test_rows, f"net{i}", i, seed=i) for i in range(4)]
    external, models = elsewhere(models)
    built = table.build(models, test_rows, train_counts, Compare(resamples=100), externals=[external])
    bars = [line.get_xdata() for line in rank_figure.draw(built).axes[0].lines if line.get_linewidth() == 3.5]
    average = np.sort(built.attrs["sets"].average)
    assert built.attrs["sets"].difference > average[-1] - average[0]  # of two sets nothing can be told
    ((left, right),) = bars
    assert left < average[0] < average[-1] < right

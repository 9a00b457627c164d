import numpy as np

from cellml.evaluation import figures, progress
from tests.evaluation.test_figures import rendered, texts

HISTORY = [
    {
        "train/loss": 1 / e,
        "val/loss": 0.3 + 1 / e,
        "val/auroc": 1 - 0.4 / e,
        "val/recall_mitotic": 0.5 + e / 40,
        "lr": 1.0,
    }
    for e in range(1, 11)
]


def test_losses_and_scores_run_over_epochs_counted_from_one():
    figure = figures.learning_curves(HISTORY)
    above, below = figure.axes
    np.testing.assert_allclose(above.lines[0].get_xydata(), [(e, 1 / e) for e in range(1, 11)])
    np.testing.assert_allclose(below.lines[0].get_xydata(), [(e, 1 - 0.4 / e) for e in range(1, 11)])
    assert [len(ax.lines) for ax in figure.axes] == [2, 1]
    assert rendered(figure).width == 704


def test_the_best_epoch_is_marked_with_its_values():
    figure = figures.learning_curves(HISTORY, best_epoch=4)
    rendered(figure)
    assert {"0.250  training", "0.550  validation", "0.900  auroc"} <= set(texts(figure))
    spots = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [spot.get_xydata().tolist() for spot in spots] == [[[4, 0.25]], [[4, 0.55]]]
    assert all([4, 4] in [list(line.get_xdata()) for line in ax.lines] for ax in figure.axes)


def test_other_metrics_can_be_asked_for():
    figure = figures.learning_curves(HISTORY, metrics=["recall_mitotic", "mcc"])
    assert "recall_mitotic" in texts(figure)
    assert len(figure.axes[1].lines) == 1


def test_what_an_epoch_lacks_is_a_gap():
    figure = figures.learning_curves([{"train/loss": 1.0, "val/loss": 2.0}, {"train/loss": 0.5}], best_epoch=2)
    np.testing.assert_array_equal(figure.axes[0].lines[-2].get_ydata(), [2.0, np.nan])
    rendered(figure)


def test_without_validation_there_is_one_panel_and_without_epochs_a_note():
    assert len(figures.learning_curves([{"train/loss": 0.5}]).axes) == 1
    assert "No epochs" in texts(figures.learning_curves([]))[0]
    rendered(figures.learning_curves([{"lr": 0.1}]))


def test_a_pretraining_is_drawn_from_before_it_with_the_probes_where_they_are():
    history = [{"probe/auroc": 0.6, "probe/accuracy": 0.5}]
    history += [{"train/loss": 40 - e} | ({"probe/auroc": 0.6 + e / 20} if e % 2 == 0 else {}) for e in range(1, 5)]
    figure = progress.pretraining(history)
    above, below = figure.axes
    np.testing.assert_allclose(above.lines[0].get_xydata()[1:], [(e, 40 - e) for e in range(1, 5)])
    np.testing.assert_allclose(below.lines[0].get_xydata(), [(0, 0.6), (2, 0.7), (4, 0.8)])
    assert set(below.lines[1].get_ydata()) == {0.6}  # before
    assert len(below.lines) == 2
    assert rendered(figure).width == 704

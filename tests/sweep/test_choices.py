"""The summary of a sweep's choices against pandas on the same trials, by hand."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from cellml.sweep import choices


def study(rows, direction="maximize"):
    opened = optuna.create_study(direction=direction)
    for params, value in rows:
        kinds = {
            name: FloatDistribution(0, 9) if isinstance(v, float) else CategoricalDistribution(["a", "b", 1, 2])
            for name, v in params.items()
        }
        state = optuna.trial.TrialState.FAIL if value is None else None
        opened.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=kinds, value=value, **({"state": state} if state else {})
            )
        )
    return opened


ROWS = [
    ({"net": "a", "place": 1, "lr": 0.5}, 0.6),
    ({"net": "a", "place": 1, "lr": 0.7}, 0.8),
    ({"net": "a", "place": 2, "lr": 0.5}, 0.9),
    ({"net": "b", "place": 1, "lr": 0.1}, 0.1),
    ({"net": "b", "place": 1, "lr": 0.1}, None),  # failed
]


def test_means_over_seeds_and_ranges_best_first():
    found = choices.table(study(ROWS))
    assert list(found.columns) == ["net", "place", "n", "mean", "sd", "min", "max"]
    assert found[["net", "place", "n"]].values.tolist() == [["a", "2", 1], ["a", "1", 2], ["b", "1", 1]]
    np.testing.assert_allclose(found["mean"], [0.9, 0.7, 0.1])
    np.testing.assert_allclose(found["sd"], [np.nan, np.std([0.6, 0.8], ddof=1), np.nan])
    assert choices.table(study(ROWS, "minimize"))["mean"].tolist() == pytest.approx([0.1, 0.7, 0.9])


def test_what_does_not_vary_is_no_column_and_an_axis_of_one_backbone_is_blank_elsewhere():
    found = choices.table(study([({"net": "a", "place": 1}, 0.1), ({"net": "a", "place": 2}, 0.2)]))
    assert list(found.columns[:1]) == ["place"]
    found = choices.table(study([({"net": "a", "a|place": 1}, 0.1), ({"net": "b"}, 0.2)]))
    assert found[["net", "a|place"]].values.tolist() == [["b", ""], ["a", "1"]]
    assert choices.table(study([({"net": "a"}, 0.1), ({"net": "a"}, 0.2)])).empty
    assert choices.table(study([])).empty


def test_the_figure_shows_each_trial_and_the_mean():
    axes = choices.figure(study(ROWS), "balanced_accuracy").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a 2", "a 1", "b 1"]
    dots = [sorted(line.get_xdata()) for line in axes.lines[::2]]
    assert dots == [[0.9], [0.6, 0.8], [0.1]]
    assert [line.get_xdata()[0] for line in axes.lines[1::2]] == pytest.approx([0.9, 0.7, 0.1])
    assert "balanced accuracy" in axes.get_xlabel()

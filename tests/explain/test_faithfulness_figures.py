import io
import itertools
from dataclasses import fields

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from cellml.explain.base import EXPLAINERS
from cellml.explain.faithfulness import Faithfulness
from cellml.explain.faithfulness_figures import compare_methods, mean_interval


def figures(mean, n=12, **changes):
    rng = np.random.default_rng(round(100 * mean))
    values = {f.name: np.clip(rng.normal(mean, 0.1, n), 0, 1) for f in fields(Faithfulness)}
    return Faithfulness(**{**values, **changes})


def size(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return Image.open(buffer).size


def marks(axes):
    """Mean by row, from the dots."""
    return {int(line.get_ydata()[0]): line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"}


def words(axes):
    return [axes.get_title(), *(text.get_text() for text in axes.texts)]


def test_interval_is_that_of_scipy():
    values = np.random.default_rng(0).random(30) ** 2
    mean, low, high = mean_interval(values, resamples=20000)
    peer = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=1).confidence_interval
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((peer.low, peer.high), abs=4e-3)
    assert np.isnan(mean_interval(np.array([0.5]))[1:]).all()
    assert np.isnan(mean_interval(np.array([]))).all()


def test_baselines_stand_grey_at_the_bottom_and_dots_at_the_means():
    rows = {"random": figures(0.2), "rise": figures(0.8), "gradcam_pp": figures(0.5), "centre": figures(0.4)}
    figure = compare_methods(rows)
    assert size(figure)[0] == 900
    assert [axes.get_title() for axes in figure.axes] == [
        "Deletion",
        "Insertion",
        "Pointing game",
        "Relevance mass",
        "Background",
        "Sensitivity",
    ]
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["rise", "gradcam pp", "random", "centre"]
    assert labels[0].get_color() == labels[1].get_color() != labels[2].get_color() == labels[3].get_color()
    for axes, field in zip(figure.axes, fields(Faithfulness), strict=False):
        wanted = [getattr(rows[name], field.name).mean() for name in ("rise", "gradcam_pp", "random", "centre")]
        assert [marks(axes)[k] for k in range(4)] == pytest.approx(wanted)
        assert [f"{value:.2f}" for value in wanted] == words(axes)[1:5]


def test_direction_and_number_of_images_are_said():
    partly = np.array([0.2] * 7 + [np.nan] * 5)
    figure = compare_methods({"rise": figures(0.8), "lime": figures(0.5, pointing=partly)})
    said = {axes.get_title(): words(axes)[-1] for axes in figure.axes}
    assert said["Deletion"] == "lower is better\n12 images"
    assert said["Insertion"] == "higher is better\n12 images"
    assert said["Pointing game"] == "higher is better\n7 to 12 images"
    assert said["Relevance mass"].startswith("higher")
    assert said["Background"].startswith("lower")
    assert said["Sensitivity"].startswith("lower")


def test_figures_that_no_method_has_take_no_room():
    nothing = np.full(12, np.nan)
    rows = {"rise": figures(0.8, pointing=nothing, mass=nothing), "lime": figures(0.5, pointing=nothing, mass=nothing)}
    rows["lime"] = figures(0.5, pointing=nothing, mass=nothing, sensitivity=nothing)
    figure = compare_methods(rows)
    assert [axes.get_title() for axes in figure.axes] == ["Deletion", "Insertion", "Background", "Sensitivity"]
    assert "–" in words(figure.axes[3])
    assert list(marks(figure.axes[3])) == [0]
    assert "nothing was measured" in compare_methods({}).texts[0].get_text()


def test_every_method_fits_and_no_word_is_cut_off_or_in_another():
    rows = {name: figures(0.4) for name in [*EXPLAINERS, *(f"another_rather_long_name_{k}" for k in range(6))]}
    figure = compare_methods(rows | {"a $x$ <b>": figures(0.3, 1), "random": figures(0.2)})
    width, height = size(figure)
    assert width == 900
    titles, boxes = [], []
    for axes in figure.axes:
        titles.append(axes.title.get_window_extent())
        boxes += [text.get_window_extent() for text in axes.texts]
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    for box in [*titles, *boxes, *labels]:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    assert all(first.x1 < second.x0 for first, second in itertools.pairwise(titles))
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(labels))

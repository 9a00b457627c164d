from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cellml.errors import UserError
from cellml.evaluation import sequence_figures, stages, style
from tests.evaluation import helpers
from tests.evaluation.test_figures import LONG, rendered, texts
from tests.evaluation.test_segments import of


def sequences(count, classes=("interphase", "prophase", "metaphase"), frames=40, unknown=0.0, seed=0):
    rng = np.random.default_rng(seed)
    k, pairs = len(classes), []
    for _ in range(count):
        true = np.repeat(np.arange(k), rng.integers(1, 2 * frames // k, k))
        said = np.roll(true, 1)
        said[0] = true[0]
        pairs.append((np.where(rng.random(len(true)) < unknown, -1, true).tolist(), said.tolist()))
    return replace(of(pairs, k), classes=tuple(classes))


CASES = {
    "one": sequences(1),
    "five": sequences(5),
    "hundred": sequences(100),
    "six hundred": sequences(600, frames=60),
    "long names and unknown frames": sequences(8, [*LONG, *(f"compartment number {k}" for k in range(6))], unknown=0.3),
}


@pytest.mark.parametrize("name", list(sequence_figures.FIGURES))
@pytest.mark.parametrize("case", list(CASES))
def test_figures_are_about_700_pixels_wide_and_cut_no_text(name, case):
    picture = rendered(sequence_figures.FIGURES[name](CASES[case]))
    assert picture.width == 704
    assert picture.height < 1200


def test_the_label_matrix_shows_truth_beside_prediction():
    true, said = [[0, 0, 1, 2], [0, 1, -1, 2, 2]], [[0, 1, 1, 1], [2, 1, 0, 2, 2]]
    p = of(list(zip(true, said, strict=True)))
    figure = sequence_figures.label_matrix(p)
    colours = np.array([to_rgb(c) for c in [*style.stages(3), "#cfcfcf"]])
    order = [int(label.get_text().removeprefix("cell ")) for label in figure.axes[0].get_yticklabels()]
    assert order == [1, 0]  # the second one's next stage begins earlier
    for ax, labels in zip(figure.axes, (true, said), strict=True):
        picture = ax.images[0].get_array()
        for row, n in zip(picture, order, strict=True):
            np.testing.assert_allclose(row[: len(labels[n])], colours[labels[n]])
            np.testing.assert_allclose(row[len(labels[n]) :], 1)
    assert {"a", "b", "c", "unknown"} <= set(texts(figure))
    assert "unknown" not in texts(sequence_figures.label_matrix(CASES["five"]))


def test_many_sequences_are_counted_instead_of_named():
    assert "600 sequences, 500 of them" in texts(sequence_figures.label_matrix(CASES["six hundred"]))
    assert "100 sequences" in texts(sequence_figures.label_matrix(CASES["hundred"]))


def test_durations_show_each_whole_segment_of_truth_and_prediction():
    p = CASES["hundred"]
    table = stages.durations(p)
    whole = table[~table["cut"]]
    figure = sequence_figures.stage_durations(p)
    counts = [
        int(((whole["stage"] == name) & (whole["of"] == of)).sum())
        for name in p.classes
        for of in ("true", "predicted")
    ]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{name}\nn = {a} | {b}" for name, a, b in zip(p.classes, counts[::2], counts[1::2], strict=True)]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    shown = np.sort(np.concatenate([line.get_xdata() for line in dots]))
    np.testing.assert_array_equal(shown, np.sort(whole["frames"]))


def test_nothing_to_show_is_said():
    assert texts(sequence_figures.stage_durations(of([([0, 0], [0, 0])]))) == [
        "No stage begins and ends within a sequence."
    ]


@pytest.mark.parametrize("draw", list(sequence_figures.FIGURES.values()))
def test_single_images_are_refused(draw):
    with pytest.raises(UserError, match="frames of sequences, got single images"):
        draw(helpers.make(5))

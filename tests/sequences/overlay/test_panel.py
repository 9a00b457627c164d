import numpy as np
import pytest

from cellml.sequences.overlay import style
from cellml.sequences.overlay.panel import WIDTH, Panel, Words, stacked
from cellml.sequences.said import Said
from tests.sequences import fields as helpers


def said(**columns):
    cells = helpers.cells(**columns)
    return Said(cells, np.random.default_rng(0).dirichlet(np.ones(4), len(cells)), helpers.STAGES)


def test_stacked_areas_have_the_heights_of_the_shares():
    shares = np.array([[1, 1, 2], [0, 3, 0], [0, 0, 0]])
    colours = [(1, 0, 0), (2, 0, 0), (3, 0, 0)]
    picture = stacked(shares, colours, 30, 80)
    for column, expected in ((4, (20, 20, 40)), (15, (0, 80, 0)), (25, (0, 0, 0))):
        assert tuple((picture[:, column, 0] == k).sum() for k in (1, 2, 3)) == expected
    assert (picture[-1, 4] == colours[0]).all()
    assert (picture[:, 25] == style.FIELD).all()


def test_the_panel_counts_and_moves_with_time():
    panel = Panel(said(), helpers.FRAMES, 300, Words("model", "not validated " * 12, interval=15))
    first, last = (np.asarray(panel.draw(t)) for t in (0, helpers.FRAMES - 1))
    assert first.shape == (panel.height, WIDTH, 3)
    changed = (first != last).any(axis=(1, 2))
    assert changed[30:60].any()  # the clock
    assert changed[panel._chart + 5]  # the place in time
    assert not changed[panel._chart + 110 :].any()  # the caption
    assert panel.counts.sum() == len(panel.said.cells)


@pytest.mark.parametrize(
    ("t", "words", "expected"),
    [
        (0, Words("m"), "frame 1 of 12"),
        (3, Words("m", interval=15), "45 min  (frame 4 of 12)"),
        (9, Words("m", interval=10.5), "1 h 34 min  (frame 10 of 12)"),
        (0, Words("m", interval=10, first=6, frames=40), "1 h 00 min  (frame 7 of 40)"),
    ],
)
def test_the_clock(t, words, expected):
    assert Panel(said(), helpers.FRAMES, 300, words)._when(t) == expected


def test_a_single_cell_is_told_in_words_and_red_when_wrong():
    one = said(observed="prophase").where((helpers.cells().table["track"] == "1").to_numpy())
    panel = Panel(one, helpers.FRAMES, 300, Words("m"), single=True)
    stages = one.stages
    for t in range(helpers.FRAMES):
        red = (np.asarray(panel.draw(t))[60:95] == style.WRONG).all(axis=2).any()
        assert red == (stages[t] != 1)


def test_a_single_cell_that_is_not_there():
    one = said().where((helpers.cells().table["track"] == "4").to_numpy())
    panel = Panel(one, helpers.FRAMES, 300, Words("m"), single=True)
    assert (np.asarray(panel.draw(0)) != np.asarray(panel.draw(7))).any()

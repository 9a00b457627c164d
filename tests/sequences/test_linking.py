import sys

import numpy as np
import pandas as pd
import pytest

from cellml.errors import UserError
from cellml.sequences import linking
from cellml.sequences.cells import Cells
from tests.sequences import fields as helpers


def shuffled(cells):
    """The same places without tracks, in another order."""
    order = np.random.default_rng(0).permutation(len(cells))
    table = cells.table.iloc[order].assign(track="0", parent="")
    return Cells(table.reset_index(drop=True), tuple(cells.outlines[k] for k in order))


def same_tracks(made, truth):
    """Number of each track of the truth, where the same places make it up."""

    def keyed(cells):
        places = cells.table[["frame", "x", "y"]].itertuples(index=False)
        return dict(zip(places, cells.table["track"], strict=True))

    a, b = keyed(made), keyed(truth)
    pairs = {(b[place], a[place]) for place in b}
    assert len(pairs) == len(set(b.values())) == len(set(a.values()))
    return dict(pairs)


def test_wandering_cells_and_a_division():
    pytest.importorskip("laptrack")
    truth = helpers.cells()
    made = linking.link(shuffled(truth), 12)
    number = same_tracks(made, truth)
    mothers = made.table.groupby("track")["parent"].first().to_dict()
    expected = {"1": "", "2": "", "3": "", "4": number["3"], "5": number["3"]}
    assert {track: mothers[number[track]] for track in number} == expected
    for outline, x in zip(made.outlines, made.table["x"], strict=True):
        assert outline[:, 0].mean() == pytest.approx(x)


def test_an_outline_broken_in_two_for_a_frame_is_no_division():
    pytest.importorskip("laptrack")
    rows = helpers.centres()
    rows = rows[rows["track"].isin(["1", "2"])]
    piece = rows[(rows["track"] == "1") & (rows["frame"] == 5)].assign(track="9", radius=5)
    piece["x"] += 9
    rows = pd.concat([rows, piece], ignore_index=True)
    cells = Cells.of(rows, [helpers.circle(r.x, r.y, r.radius) for r in rows.itertuples()])
    made = linking.link(shuffled(cells), 12)
    assert set(made.table["parent"]) == {""}
    assert sorted(made.table["track"].value_counts()) == [1, 12, 12]


def test_a_cell_may_be_missing_for_a_frame():
    pytest.importorskip("laptrack")
    truth = helpers.cells()
    kept = truth.where(~((truth.table["track"] == "2") & (truth.table["frame"] == 4)).to_numpy())
    made = linking.link(shuffled(kept), 12)
    assert len(same_tracks(made, kept)) == 5


def test_without_the_extra_one_line_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "laptrack", None)
    with pytest.raises(UserError, match=r"pip install cellml\[tracking\]"):
        linking.link(helpers.cells(), 12)

import numpy as np
import pytest

from cellml.screening import figures
from tests.evaluation.screens import cells
from tests.screening.conftest import reported


def texts(figure):
    figure.draw_without_rendering()
    return " ".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))


def test_z_prime_stands_over_the_controls(made):
    drawn = figures.controls(made)
    assert f"Z' {made.of_controls('cells', 'z_prime')}" in texts(drawn)
    top, below = drawn.axes
    widths = np.diff(top.patches[0].get_data().edges)
    shares = top.patches[0].get_data().values
    assert shares.sum() == pytest.approx(1)
    assert (widths > 0).all()
    points = np.concatenate([dots.get_offsets()[:, 0] for dots in below.collections])
    assert sorted(points) == pytest.approx(
        sorted(made.screen.wells["value"][made.screen.wells["treatment"].isin(["WT", "DS"])])
    )


def test_treatments_stand_in_order_of_distance_with_their_intervals(made):
    left = figures.treatments(made).axes[0]
    names = [label.get_text() for label in left.get_yticklabels()]
    order = made.treatments.sort_values("distance", kind="stable")["treatment"]
    assert names == [f"{name} (12)" for name in order]
    row = made.treatments.set_index("treatment").loc["half"]
    lines = [list(line.get_xdata()) for line in left.lines]
    assert [row["distance_low"], row["distance_high"]] in lines


def test_told_treatments_are_filled(made):
    left = figures.treatments(made).axes[0]
    found = {}
    for line in left.lines:
        if line.get_marker() == "o":
            found[round(float(line.get_xdata()[0]), 6)] = line.get_markerfacecolor()
    rows = made.treatments.set_index("treatment")
    assert found[round(rows.loc["strong", "distance"], 6)] != "white"
    assert found[round(rows.loc["none", "distance"], 6)] == "white"


def test_wells_lie_where_they_are_named(made):
    drawn = figures.plates(made)
    image = drawn.axes[0].images[0].get_array()
    first = made.screen.wells[made.screen.wells["plate"] == "P1"]
    assert image.shape == (8, 12)
    assert np.isfinite(image.filled(np.nan)).sum() == len(first)
    one = first.iloc[0]
    place = ("ABCDEFGH".index(one["well"][0]), int(one["well"][1:]) - 1)
    values = made.screen.wells["value"]
    ends = [values[made.screen.rows(name)].mean() for name in ("WT", "DS")]
    assert image[place] == pytest.approx((one["value"] - ends[0]) / (ends[1] - ends[0]))


@pytest.mark.parametrize(
    ("table", "name", "said"),
    [
        (cells().assign(well=lambda t: "well " + t["well"]), "plates", "not named as on a plate"),
        (cells().assign(score=1.0), "plates", "controls do not differ"),
        (cells().assign(score=1.0), "controls", "undefined"),
        (cells({"WT": 0, "DS": 4, **{f"c{k}": k / 20 for k in range(60)}}, plates=1, wells=1), "treatments", "20 more"),
    ],
)
def test_what_cannot_be_drawn_is_said(table, name, said):
    assert said in texts(figures.FIGURES[name](reported(table)))


def test_scores_without_spread_still_make_a_figure():
    assert figures.treatments(reported(cells().assign(score=1.0)))

import numpy as np
import pytest

from cellml.errors import UserError
from cellml.evaluation.screens import Screen
from tests.evaluation.screens import cells


def test_a_well_is_the_median_of_its_cells():
    table = cells()
    screen = Screen(table.sample(frac=1, random_state=0), "WT", "DS")
    wells = screen.wells
    assert len(wells) == 60
    one = table[(table["plate"] == wells["plate"][7]) & (table["well"] == wells["well"][7])]
    assert wells["value"][7] == np.median(one["score"])
    assert wells["cells"].sum() == len(table)


def test_the_same_name_on_two_plates_is_two_wells():
    table = cells({"WT": 0, "DS": 4}, plates=2, wells=1)
    table["well"] = table["treatment"].map({"WT": "A1", "DS": "B1"})
    assert len(Screen(table, "WT", "DS").wells) == 4


def test_cells_nearer_to_the_negative_controls_median_look_like_it():
    screen = Screen(cells(), "WT", "DS")
    middle = np.mean([np.median(screen.scores(name)) for name in ("WT", "DS")])
    assert (screen.like == (screen.cells["score"] < middle)).all()


def test_wells_are_drawn_within_treatments_and_plates_whole():
    table = cells()
    (drawn,) = Screen(table, "WT", "DS", resamples=200).draws()
    wells = Screen(table, "WT", "DS").wells
    for name in set(wells["treatment"]):
        assert (drawn[(wells["treatment"] == name).to_numpy()].sum(axis=0) == 12).all()
    assert drawn.std() > 0.5
    (drawn,) = Screen(table, "WT", "DS", by="plates", resamples=200).draws()
    for plate in set(wells["plate"]):
        here = drawn[(wells["plate"] == plate).to_numpy()]
        assert (here == here[0]).all()


@pytest.mark.parametrize(
    ("change", "controls", "said"),
    [
        ({}, ("WT", "DX"), "Expected the positive control among the treatments, got 'DX'"),
        ({}, ("", "DS"), "Expected the negative control"),
        ({}, ("WT", "WT"), "Expected two controls, got 'WT' as both"),
        ({"score": np.nan}, ("WT", "DS"), "1500 that are not"),
        ({"well": "A01"}, ("WT", "DS"), "Expected one treatment a well, found .* in well A01 of plate P1"),
    ],
)
def test_what_is_no_screen_is_refused(change, controls, said):
    with pytest.raises(UserError, match=said):
        Screen(cells().assign(**change), *controls)


def test_one_well_or_plate_is_too_few():
    one = Screen(cells({"WT": 0, "DS": 4}, plates=1, wells=1), "WT", "DS")
    assert one.too_few("WT") == "no interval: WT has one well"
    assert not Screen(cells(plates=1), "WT", "DS").too_few("WT", "DS")
    assert "one plate" in Screen(cells(plates=1), "WT", "DS", by="plates").too_few("WT")

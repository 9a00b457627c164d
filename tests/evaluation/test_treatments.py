import numpy as np
import pytest

from cellml.evaluation import treatments
from cellml.evaluation.screens import Screen
from tests.evaluation.screens import cells


@pytest.fixture(scope="module")
def found():
    return treatments.table(Screen(cells(), "WT", "DS", resamples=300)).set_index("treatment")


def test_those_nearest_to_the_negative_control_come_first_and_the_controls_last(found):
    assert list(found.index) == ["strong", "half", "none", "WT", "DS"]


@pytest.mark.parametrize(("name", "distance"), [("strong", 0.1), ("half", 0.5), ("none", 1.0)])
def test_the_truth_lies_in_the_intervals(found, name, distance):
    row = found.loc[name]
    assert row["distance_low"] <= distance <= row["distance_high"]
    assert row["distance_high"] - row["distance_low"] < 0.3
    assert row["like_negative_low"] <= row["like_negative"] <= row["like_negative_high"]


def test_controls_are_the_ends(found):
    assert found.loc["WT", "distance"] == 0
    assert found.loc["DS", "distance"] == 1
    assert found.loc["WT", "distance_low"] is None
    assert found.loc["WT", "like_negative"] > 0.95
    assert found.loc["DS", "like_negative"] < 0.05
    assert found.loc["DS", "ssmd"] is None
    assert found.loc["WT", "p"] is None


def test_figures_by_hand():
    table = cells()
    found = treatments.table(Screen(table, "WT", "DS", resamples=100)).set_index("treatment")
    wells = table.groupby(["treatment", "plate", "well"])["score"].median().groupby("treatment").mean()
    assert found.loc["half", "distance"] == pytest.approx((wells["half"] - wells["WT"]) / (wells["DS"] - wells["WT"]))
    own, other = (table["score"][table["treatment"] == name].to_numpy() for name in ("half", "DS"))
    apart = (own.mean() - other.mean()) / np.sqrt(own.var(ddof=1) + other.var(ddof=1))
    assert found.loc["half", "ssmd"] == pytest.approx(apart)


def test_effects_are_told_and_none_is_not(found):
    assert found.loc["strong", "q"] < 0.01
    assert found.loc["half", "q"] < 0.01
    assert found.loc["none", "q"] > 0.05
    other = treatments.table(Screen(cells(), "WT", "DS", resamples=100), "negative").set_index("treatment")
    assert other.loc["none", "q"] < 0.01
    assert other.loc["none", "ssmd"] > 0


def test_false_discovery_is_benjamini_and_hochbergs():
    """Their own example: 15 p-values of a study of myocardial infarction, section 4.1: four are rejected at 0.05."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1,
    ]
    q = treatments.false_discovery([None, *p])
    assert q[0] is None
    assert sum(value <= 0.05 for value in q[1:]) == 4
    ranked = [min(15 / (j + 1) * p[j] for j in range(i, 15)) for i in range(15)]
    assert q[1:] == pytest.approx(ranked)


def test_a_treatment_on_plates_without_its_control_has_no_p():
    table = cells()
    table.loc[table["treatment"] == "half", "plate"] = "P9"
    row = treatments.table(Screen(table, "WT", "DS", resamples=100)).set_index("treatment").loc["half"]
    assert row["p"] is None
    assert row["q"] is None
    assert row["note"] == "no p: no plate has wells of both half and DS"


def test_a_treatment_in_one_well_has_a_place_but_no_interval():
    table = cells()
    first = table[table["treatment"] == "half"].iloc[0]
    rest = (table["treatment"] == "half") & ((table["well"] != first["well"]) | (table["plate"] != first["plate"]))
    row = treatments.table(Screen(table[~rest], "WT", "DS", resamples=100)).set_index("treatment").loc["half"]
    assert row["wells"] == 1
    assert row["distance"] == pytest.approx(0.5, abs=0.4)
    assert row["distance_low"] is None
    assert row["p_least"] == pytest.approx(1 / 5)
    assert "half has one well" in row["note"]


def test_scores_that_say_nothing_are_said_to():
    row = treatments.table(Screen(cells().assign(score=1.0), "WT", "DS", resamples=100)).iloc[0]
    assert row["distance"] is None
    assert "undefined: distance" in row["note"]


def test_controls_alone_make_a_table_too():
    found = treatments.table(Screen(cells({"WT": 0, "DS": 4}), "WT", "DS", resamples=100))
    assert list(found["treatment"]) == ["WT", "DS"]
    assert found["q"].tolist() == [None, None]

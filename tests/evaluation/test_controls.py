import numpy as np
import pytest

from cellml.evaluation import controls, intervals, screening
from cellml.evaluation.screens import Screen
from tests.evaluation.screens import cells


def test_points_are_those_of_the_pooled_cells_and_of_well_medians():
    screen = Screen(cells(), "WT", "DS", resamples=300)
    found = controls.table(screen).set_index(["level", "statistic"])
    p, n = screen.scores("DS"), screen.scores("WT")
    wells = screen.cells.groupby(["treatment", "plate", "well"])["score"].median()
    for name in screening.NAMES:
        function = getattr(screening, name)
        assert found.loc[("cells", name), "value"] == pytest.approx(function(p, n))
        assert found.loc[("wells", name), "value"] == pytest.approx(
            function(wells["DS"].to_numpy(), wells["WT"].to_numpy())
        )
        assert found.loc[("cells", name), "low"] <= found.loc[("cells", name), "value"]
    assert found["low"].notna().all()


def test_intervals_cover_the_truth_and_know_of_wells():
    """Cells of deviation sqrt(1 + 0.3^2), means 4 apart; intervals by well are wider than those by cell would be."""
    expected = 1 - 6 * np.sqrt(1 + 0.09) / 4
    drawn = next(intervals.multiplicities(12, 200, 0)), next(intervals.multiplicities(12, 200, 1))
    covered, width = [], []
    for seed in range(40):
        screen = Screen(cells({"WT": 0, "DS": 4}, plates=1, wells=12, seed=seed), "WT", "DS")
        low, high = np.percentile(
            screening.resampled("z_prime", screen.single("DS"), screen.single("WT"), drawn), [2.5, 97.5]
        )
        covered.append(low <= expected <= high)
        width.append(high - low)
    assert 0.8 <= np.mean(covered) <= 1
    rng = np.random.default_rng(0)
    p, n = screen.scores("DS"), screen.scores("WT")
    free = [screening.z_prime(rng.choice(p, len(p)), rng.choice(n, len(n))) for _ in range(200)]
    assert np.mean(width) > 1.1 * np.subtract(*np.percentile(free, [97.5, 2.5]))


def test_what_is_undefined_is_said_and_no_number():
    table = cells().assign(score=lambda t: np.where(t["treatment"] == "WT", 1.0, t["score"]))
    found = controls.table(Screen(table, "WT", "DS", resamples=100)).set_index(["level", "statistic"])
    assert found.loc[("cells", "z_prime"), "value"] is None
    assert found.loc[("cells", "z_prime"), "note"] == "undefined: the scores of the negative control do not vary"
    assert found.loc[("cells", "auroc"), "value"] > 0.9
    assert "NaN" not in found.to_string().replace("None", "")


def test_one_well_a_control_has_no_interval():
    screen = Screen(cells({"WT": 0, "DS": 4}, plates=1, wells=1), "WT", "DS", resamples=100)
    found = controls.table(screen).set_index(["level", "statistic"])
    assert found.loc[("cells", "z_prime"), "value"] < 1
    assert found.loc[("cells", "z_prime"), "low"] is None
    assert found.loc[("cells", "z_prime"), "note"] == "no interval: DS has one well"
    assert "1 well, 2 or more" in found.loc[("wells", "z_prime"), "note"]


def test_shifts_of_plates_come_back_in_units_of_the_controls_distance():
    table = cells(plates=4, wells=6, spread=0.01)
    table.loc[table["plate"] == "P3", "score"] += 2
    found = controls.plates(Screen(table, "WT", "DS")).set_index("plate")
    assert found.loc["P3", "shift"] - found.loc["P1", "shift"] == pytest.approx(0.5, abs=0.05)
    p3 = table[table["plate"] == "P3"]
    expected = screening.z_prime(*(p3["score"][p3["treatment"] == name].to_numpy() for name in ("DS", "WT")))
    assert found.loc["P3", "z_prime"] == pytest.approx(expected)


def test_a_plate_without_a_control_says_so():
    table = cells()
    table = table[(table["plate"] != "P2") | (table["treatment"] != "WT")]
    found = controls.plates(Screen(table, "WT", "DS")).set_index("plate")
    assert found.loc["P2", "z_prime"] is None
    assert "negative control has 0 cells" in found.loc["P2", "note"]
    assert found.loc["P1", "note"] == ""


def test_edges_are_found_where_they_are():
    raised, tested = controls.edge(Screen(cells(edge=2.0, wells=8), "WT", "DS"))
    assert raised == pytest.approx(0.5, abs=0.15)
    assert tested.p < 0.01
    _, tested = controls.edge(Screen(cells(wells=8, seed=1), "WT", "DS"))
    assert tested.p > 0.01
    table = cells()
    assert controls.edge(Screen(table.assign(well="w" + table["well"]), "WT", "DS")) is None


def test_plates_of_controls_that_do_not_differ_have_no_shift():
    found = controls.plates(Screen(cells(plates=1).assign(score=1.0), "WT", "DS"))
    assert found.loc[0, ["shift", "z_prime"]].tolist() == [None, None]
    assert found.loc[0, "note"].startswith("no shift: the controls' wells do not differ; ")

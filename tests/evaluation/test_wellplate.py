import pytest

from cellml.evaluation import wellplate


@pytest.mark.parametrize(
    ("name", "place"),
    [("A1", (0, 0)), ("B07", (1, 6)), ("h12", (7, 11)), ("P024", (15, 23)), ("AF48", (31, 47)), ("AA1", (26, 0))],
)
def test_names_of_wells(name, place):
    assert wellplate.position(name) == place


@pytest.mark.parametrize("name", ["", "7", "A", "A0", "AG1", "A49", "DS 3", "well1"])
def test_other_names(name):
    assert wellplate.position(name) is None


@pytest.mark.parametrize(
    ("wells", "plate"), [(["A1", "B3"], (2, 3)), (["A1", "H12"], (8, 12)), (["C13"], (16, 24)), (["A1", "x"], None)]
)
def test_the_smallest_usual_plate(wells, plate):
    assert wellplate.format_of(wells) == plate


def test_edge_of_96_wells():
    names = [f"{wellplate.row_name(r)}{c + 1:02}" for r in range(8) for c in range(12)]
    assert sum(wellplate.at_edge(name, (8, 12)) for name in names) == 96 - 6 * 10


def test_row_names_come_back():
    assert all(wellplate.position(f"{wellplate.row_name(r)}1") == (r, 0) for r in range(32))

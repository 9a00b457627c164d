import numpy as np
import pytest

from cellml.data import decode, images
from cellml.errors import UserError

POINTS = """file,col,row,label
field.png,20,10,a
field.png,0,0,b
field.png,39.9,29.2,a
field.png,40,3,b
field.png,-1,3,b
gone.png,5,5,a
"""


@pytest.fixture
def field(tmp_path, picture):
    picture("field.png", 30, 40)
    (tmp_path / "points.csv").write_text(POINTS)
    return tmp_path


def test_windows_around_points_repeat_the_border(field, read):
    rows = read("points", window=8, options={"x": "col", "y": "row"})
    assert rows.table["group"].tolist() == ["field.png"] * 3 + ["gone.png"]
    assert rows.problems[0].ids == ("field.png#40,3", "field.png#-1,3")
    decoded = decode.build(rows.table, field, field / "cache")
    assert decoded.rows.tolist() == [0, 1, 2, -1]
    assert [p.kind for p in decoded.problems] == ["missing"]
    padded = np.pad(images.read_image(field / "field.png"), ((9, 9), (9, 9), (0, 0)), mode="edge")
    for row, (x, y) in enumerate([(20, 10), (0, 0), (39, 29)]):
        window = decoded.pixels[row]
        assert np.array_equal(window, padded[y + 5 : y + 13, x + 5 : x + 13])
        assert np.array_equal(window[4, 4], padded[9 + y, 9 + x])


def test_coordinates_must_be_there_and_be_numbers(field, read):
    with pytest.raises(UserError, match=r"column 'x' in points.csv, found .*; set data.options.x"):
        read("points")
    (field / "points.csv").write_text("file,x,y,label\nfield.png,1,2,a\nfield.png,1,two,b\n")
    with pytest.raises(UserError, match=r"number in column 'y' of points.csv, got 'two' in row 2"):
        read("points")


def test_a_group_column_replaces_the_image(field, read):
    rows = read("points", group="label", options={"x": "col", "y": "row"})
    assert rows.table["group"].tolist() == ["a", "b", "a", "a"]

import pytest

from cellml.data.sources import stage_files
from cellml.data.sources.cells import Cell
from cellml.errors import UserError

SIX, THREE = "ManualStages.txt", "Synchronization.csv"


def cell(name, length=4):
    movie = name.rpartition("/")[0]
    return Cell(name, movie or name, name, (), (), length, False)


@pytest.fixture
def put(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


@pytest.mark.parametrize(
    "text", ["1,1,2,3\n", "1;1;2;3", "1\t1\t2\t3\n\n", "1 1 2 3", "1\n1\n2\n3\n", "1.0,1.0,2.0,3.0"]
)
def test_numbers_however_they_are_separated(tmp_path, put, text):
    put(f"m/c/c_{SIX}", text)
    found = stage_files.read(tmp_path, [cell("m/c")], SIX)["m/c"]
    assert found.values == ["1", "1", "2", "3"]
    assert found.lines[2] == f"m/c/c_{SIX}, line 1, value 3"


@pytest.mark.parametrize("place", ["m/c/c_", "m/c_"])
def test_a_file_lies_in_the_cells_folder_or_beside_it(tmp_path, put, place):
    put(place + THREE, "1;2;3")
    cells = [cell("m/c"), cell("m/d")]
    assert stage_files.kind(tmp_path, cells) == THREE
    found = stage_files.read(tmp_path, cells, THREE)
    assert list(found) == ["m/c"]
    assert found["m/c"].values == ["1", "2", "3", ""]


def test_a_daughter_has_her_sisters_stages(tmp_path, put):
    put(f"x_B01/x_B01_{SIX}", "1,2,3,4")
    found = stage_files.read(tmp_path, [cell("x_B01"), cell("x_B02")], SIX)
    assert found["x_B02"].values == found["x_B01"].values == ["1", "2", "3", "4"]


@pytest.mark.parametrize("place", ["P1/P1_", "P1_"])
def test_a_positions_file_has_a_line_a_cell(tmp_path, put, place):
    put(place + THREE, "1;1;2\n1;2;3\n")
    cells = [cell("P1/c2"), cell("P1/c10")]
    found = stage_files.read(tmp_path, cells, THREE)
    assert found["P1/c2"].values == ["1", "1", "2", ""]
    assert found["P1/c10"].values == ["1", "2", "3", ""]
    assert "line 2" in found["P1/c10"].lines[0]
    with pytest.raises(UserError, match=f"line for each of the 3 cells beside {place}{THREE}, got 2"):
        stage_files.read(tmp_path, [*cells, cell("P1/c11")], THREE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,1,2,3,3", f"at most 4 stages for the 4 frames of m/c, got 5 in m/c_{SIX}, line 1"),
        ("1,a,2", "line 1, got 'a'"),
        ("1,1\n2,2\n", "one line of stages"),
        ("\n", "found none"),
    ],
)
def test_bad_files_are_named(tmp_path, put, text, said):
    put(f"m/c_{SIX}", text)
    with pytest.raises(UserError, match=said):
        stage_files.read(tmp_path, [cell("m/c")], SIX)


def test_one_kind_must_be_there(tmp_path, put):
    with pytest.raises(UserError, match=r"stage files <cell>_Synchronization.csv or <cell>_ManualStages.txt"):
        stage_files.kind(tmp_path, [cell("m/c")])
    put(f"m/c_{SIX}", "1")
    put(f"m/c_{THREE}", "1")
    with pytest.raises(UserError, match="found"):
        stage_files.kind(tmp_path, [cell("m/c")])

import json

import pandas as pd
import pytest

from cellml.data.tracks import btrack
from cellml.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tracks.csv").write_text("ID,t,y,x\n1.0,0.0,9.5,3.0\n1.0,1.0,9.0,4.0\n2.0,2.0,8.0,4.5\n")
    (tmp_path / "properties.csv").write_text("t,state,root\n0,0,1\n1,2,1\n2,4,1\n")
    (tmp_path / "graph.json").write_text(json.dumps({"2": [1]}))
    return tmp_path


def test_tracks_parents_and_states(folder):
    found = btrack.read(folder)
    assert found[["track", "frame", "x", "y", "parent", "label", "line"]].values.tolist() == [
        ["1", 0, 3.0, 9.5, "", "0", "line 2"],
        ["1", 1, 4.0, 9.0, "", "2", "line 3"],
        ["2", 2, 4.5, 8.0, "1", "4", "line 4"],
    ]


def test_states_are_optional(folder):
    (folder / "properties.csv").unlink()
    assert (btrack.read(folder)["label"] == "").all()


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("tracks.csv", "ID,t,y,x\n1,0,9,a\n", "column 'x' of tracks.csv, got 'a' in line 2"),
        ("tracks.csv", "ID,t,y\n1,0,9\n", "column 'x'"),
        ("properties.csv", "t,state\n0,0\n", "as many lines"),
        ("graph.json", "[1]", "graph.json"),
        ("graph.json", '{"2": [1, 3]}', "one parent of track 2"),
    ],
)
def test_bad_files_are_named(folder, file, text, said):
    (folder / file).write_text(text)
    with pytest.raises(UserError, match=said):
        btrack.read(folder)


def test_the_mdck_recording(real_data):
    folder = real_data / "mdck-tracks"
    if not folder.is_dir():
        pytest.skip("no mdck-tracks")
    found = btrack.read(folder)
    raw = pd.read_csv(folder / "tracks.csv")
    assert len(found) == len(raw)
    assert found["x"].tolist() == raw["x"].tolist()
    assert found[found["parent"] != ""]["track"].nunique() == len(json.loads((folder / "graph.json").read_text()))

import numpy as np
import pytest

from cellml.data.tracks import formats
from cellml.errors import UserError

NAMES = formats.Names()


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "movie.npy", np.zeros((4, 20, 30), np.uint8))
    return tmp_path


def read(folder, text, kind="auto", names=NAMES, frames=None):
    (folder / "tracks.csv").write_text(text)
    return formats.read(folder, folder / "cache", None, kind, frames, names)


def test_a_table_with_names_of_its_own(folder):
    names = formats.Names("id", "t", "cx", "cy", "mother", "film", "phase")
    text = "id,t,cx,cy,mother,film,phase,well\n1.0,0,3.5,4,-1,movie.npy,a,W\n2,1,5,6,1.0,movie.npy,,W\n"
    found, where = read(folder, text, names=names)
    assert where == "tracks.csv"
    columns = ["track", "frame", "x", "y", "parent", "movie", "label", "line", "well"]
    assert found[columns].values.tolist() == [
        ["1", 0, 3.5, 4.0, "", "movie.npy", "a", "line 2", "W"],
        ["2", 1, 5.0, 6.0, "1", "movie.npy", "", "line 3", "W"],
    ]


def test_a_track_may_be_its_own_parent_and_the_movie_the_only_one(folder):
    found, _ = read(folder, "track,frame,x,y,parent\n5,0,1,2,5\n6,0,1,2,0\n7,0,1,2,\n")
    assert found["parent"].tolist() == ["", "", ""]
    assert set(found["movie"]) == {"movie.npy"}
    assert (found["label"] == "").all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("track,frame,x\n1,0,2\n", "column 'y' in tracks.csv"),
        ("track,frame,x,y\n1,0,2,3\n1,1,b,3\n", "number in column 'x' of tracks.csv, got 'b' in line 3"),
        ("track,frame,x,y\n1,0.5,2,3\n", "whole numbers in column 'frame' of tracks.csv, got 0.5 in line 2"),
        ("track,frame,x,y\n1,0,2,3\n,1,2,3\n", "tracks.csv, line 3 has none"),
    ],
)
def test_bad_tables_are_named_with_their_line(folder, text, said):
    with pytest.raises(UserError, match=said):
        read(folder, text)


def test_the_movie_must_be_clear(folder):
    np.save(folder / "other.npy", np.zeros((4, 20, 30), np.uint8))
    with pytest.raises(UserError, match=r"one movie .* found \['movie.npy', 'other.npy'\]; name it in"):
        read(folder, "track,frame,x,y\n1,0,2,3\n")
    assert set(read(folder, "track,frame,x,y\n1,0,2,3\n", frames="other.npy")[0]["movie"]) == {"other.npy"}


def test_an_unknown_format_is_named(folder):
    with pytest.raises(UserError, match="did you mean 'btrack'"):
        read(folder, "track,frame,x,y\n1,0,2,3\n", kind="btracks")


def test_labels_of_other_formats_come_from_a_table(folder):
    (folder / "tracks.csv").write_text("ID,t,y,x\n1,0,4,3\n1,1,4,5\n2,0,9,9\n")
    (folder / "graph.json").write_text("{}")
    (folder / "labels.csv").write_text("track,frame,label\n1,1,b\n2,0,a\n")
    found, where = formats.read(folder, folder / "cache", "labels.csv", "auto", None, NAMES)
    assert where == "tracks.csv"
    assert found["label"].tolist() == ["", "b", "a"]
    (folder / "labels.csv").write_text("track,frame,label\n1,1,b\n1,7,a\n")
    with pytest.raises(UserError, match=r"labels.csv, line 3 has frame 7 of track 1, which is not"):
        formats.read(folder, folder / "cache", "labels.csv", "auto", None, NAMES)


@pytest.mark.parametrize("column", ["movie", "mask"])
@pytest.mark.parametrize("path", ["../movie.npy", "/etc/passwd", "a/../../movie.npy", "..\\movie.npy"])
def test_movies_and_masks_lie_in_the_data_folder(folder, column, path):
    np.save(folder.parent / "movie.npy", np.zeros((4, 20, 30), np.uint8))
    with pytest.raises(UserError, match="leads outside"):
        read(folder, f"track,frame,x,y,{column}\n1,0,2,3,{path}\n")

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellml.data import decode, masks, simulate_movies
from cellml.data.manifest import Manifest
from cellml.data.nuclei import STAGES
from cellml.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture
def movie(tmp_path):
    """Writes a movie of 5 frames and a table of tracks; gives its pixels."""

    def write(text, channels=None):
        shape = (5, 40, 50) if channels is None else (5, channels, 40, 50)
        pixels = RNG.integers(0, 255, shape).astype(np.uint8)
        tifffile.imwrite(tmp_path / "m.tif", pixels, metadata={"axes": "TCYX" if channels else "TYX"})
        (tmp_path / "tracks.csv").write_text(text)
        return pixels

    return write


TEXT = (
    "track,frame,x,y,parent,label\n1,0,20.4,15,,a\n1,1,21,15,,b\n2,2,3,4,1,a\n2,3,3,4,1,\n"
    "3,2,45,38,1,b\n3,3,45,38,1,b\n"
)


def test_windows_have_the_cell_in_the_middle(movie, read, tmp_path):
    pixels = movie(TEXT, channels=2)
    rows = read("tracks", classes=["a", "b"], window=8)
    table = rows.table
    assert table["id"].tolist() == ["1#0", "1#1", "2#0", "2#1", "3#0", "3#1"]
    assert table["label"].tolist() == ["a", "b", "a", "", "b", "b"]
    assert table["parent"].tolist() == ["", "", "1", "1", "1", "1"]
    assert table["page"].tolist() == [0, 1, 2, 3, 2, 3]
    assert set(table["group"]) == {"m.tif/1"}
    decoded = decode.build(table, tmp_path, tmp_path / "cache", [1])
    padded = np.pad(pixels[:, 1], ((0, 0), (9, 9), (9, 9)), mode="edge")
    for row, found in zip(table.itertuples(), decoded.rows, strict=True):
        x, y = {"1": (20 + row.frame, 15), "2": (3, 4), "3": (45, 38)}[row.sequence]
        expected = padded[row.page, y - 4 + 9 : y + 4 + 9, x - 4 + 9 : x + 4 + 9]
        np.testing.assert_array_equal(decoded.pixels[found][..., 0], expected)


def test_a_folder_of_frames_is_as_good(movie, read, tmp_path):
    pixels = movie(TEXT)
    first = decode.build(read("tracks", classes=["a", "b"], window=8).table, tmp_path, tmp_path / "cache")
    (tmp_path / "m").mkdir()
    for t in range(5):
        tifffile.imwrite(tmp_path / "m" / f"f{t + 1}.tif", pixels[t])
    rows = read("tracks", classes=["a", "b"], window=8, options={"frames": "m"})
    assert "page" not in rows.table
    second = decode.build(rows.table, tmp_path, tmp_path / "cache")
    assert first.hashes.tolist() == second.hashes.tolist()


def test_frames_may_be_counted_from_one(movie, read):
    movie("track,frame,x,y,label\n1,1,9,9,a\n1,2,9,9,b\n")
    assert read("tracks", classes=["a", "b"], options={"first": 1}).table["page"].tolist() == [0, 1]
    assert read("tracks", classes=["a", "b"]).table["page"].tolist() == [1, 2]


def test_masks_are_of_the_cell_alone(read, tmp_path):
    path = simulate_movies.write(tmp_path, movies=1, frames=10, cells=4, size=96)
    rows = read("tracks", table="tracks.csv", label="stage", classes=list(STAGES), window=32, partial=True)
    table = rows.table.assign(row=np.arange(len(rows.table)), pixels="")
    found = masks.read(Manifest(table, rows.classes), tmp_path, None, 32)
    truth = pd.read_csv(path)
    labels = tifffile.imread(tmp_path / truth["mask"][0])
    padded = np.pad(labels, ((0, 0), (40, 40), (40, 40)), mode="edge")
    for n, row in enumerate(table.itertuples()):
        part = padded[row.page, row.y0 + 40 : row.y1 + 40, row.x0 + 40 : row.x1 + 40]
        np.testing.assert_array_equal(found[n], part == int(row.sequence))
    assert len(table) == len(truth)


def test_short_tracks_are_left_out_with_a_note(movie, read):
    movie(TEXT + "8,0,9,9,,a\n")
    rows = read("tracks", classes=["a", "b"])
    assert "8" not in set(rows.table["sequence"])
    assert [(p.kind, p.ids) for p in rows.problems] == [("short track", ("m.tif/8",))]


def test_gaps_can_be_filled(movie, read):
    movie("track,frame,x,y,label\n1,0,10,10,a\n1,2,20,10,b\n")
    with pytest.raises(UserError, match="frame 1 is missing between line 2 and line 3"):
        read("tracks", classes=["a", "b"])
    table = read("tracks", classes=["a", "b"], window=8, options={"gaps": "fill"}).table
    assert table["label"].tolist() == ["a", "", "b"]
    assert table["x0"].tolist() == [6, 11, 16]


def test_tracks_without_labels_are_read(movie, read):
    movie("track,frame,x,y\n1,0,10,10\n1,1,20,10\n")
    rows = read("tracks", classes=["a", "b"])
    assert rows.table["label"].tolist() == ["", ""]
    assert rows.classes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("track,frame,x,y,label\n1,0,9,9,a\n1,1,9,9,c\n", {}, r"found 'c' in tracks.csv, line 3; known: a, b"),
        ("track,frame,x,y,label\n1,4,9,9,a\n1,5,9,9,a\n", {}, r"frames 0 to 4 of m.tif in tracks.csv, line 3 has 5"),
        (
            "track,frame,x,y,label\n1,0,9,9,a\n1,1,9,99,a\n",
            {},
            r"50 x 40 pixels of m.tif in tracks.csv, line 3 has x 9, y 99",
        ),
        ("track,frame,x,y,parent\n1,0,9,9,4\n1,1,9,9,4\n", {}, r"track 4 as parent of track 1 in tracks.csv, line 2"),
        ("track,frame,x,y,label\n1,0,9,9,a\n", {}, "tracks of 2 frames or more"),
        ("track,frame,x,y,label\n1,0,9,9,a\n1,1,9,9,b\n", {"classes": None}, r"order in data.classes.*\['a', 'b'\]"),
        ("track,frame,x,y,movie\n1,0,9,9,gone.tif\n", {}, r"gone.tif, found none"),
        ("track,frame,x,y,label\n1,0,9,9,a\n", {"votes": ["a"]}, "data.votes has no meaning"),
    ],
)
def test_mistakes_are_told_in_one_line(movie, read, text, settings, said):
    movie(text)
    with pytest.raises(UserError, match=said) as caught:
        read("tracks", **{"classes": ["a", "b"], **settings})
    assert "\n" not in str(caught.value)


def test_a_movie_of_one_frame(read, tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((9, 9), np.uint8))
    (tmp_path / "tracks.csv").write_text("track,frame,x,y,movie\n1,0,3,3,m.tif\n")
    with pytest.raises(UserError, match=r"several frames in m.tif, found one"):
        read("tracks", classes=["a", "b"])


def test_the_outlined_movie(real_data, tmp_path):
    from cellml.config import Data
    from cellml.data.sources import SOURCES

    root = real_data / "mdamb231-movie"
    if not root.is_dir():
        pytest.skip("no mdamb231-movie")
    data = Data(source="tracks", classes=["a", "b"], options={"gaps": "fill"})
    rows = SOURCES["tracks"](data, root, tmp_path, **data.options)
    assert rows.table["sequence"].nunique() > 50
    frames = rows.table.groupby("sequence")["frame"]
    assert (frames.max() == frames.size() - 1).all()

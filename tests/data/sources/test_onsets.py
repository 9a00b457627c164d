import numpy as np
import pytest
import tifffile

from cellml.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture
def movies(tmp_path):
    """Two movies of 10 frames; writes the table of onsets."""
    tifffile.imwrite(
        tmp_path / "a.tif", RNG.integers(0, 99, (10, 2, 12, 16)).astype(np.uint8), metadata={"axes": "TCYX"}
    )
    np.save(tmp_path / "b.npy", RNG.integers(0, 99, (10, 12, 16, 2)).astype(np.uint8))

    def write(text):
        (tmp_path / "onsets.csv").write_text(text)

    return write


def test_onsets_cut_movies_into_stages(movies, read):
    movies("file,pro,meta,ana,well\na.tif,3,5,9,W\nb.npy,,2,6,V\n")
    rows = read("onsets", classes=["inter", "pro", "meta", "ana"])
    table = rows.table
    assert table["label"].tolist() == [
        *["inter"] * 3,
        *["pro"] * 2,
        *["meta"] * 4,
        *["ana"],
        *["inter"] * 2,
        *["meta"] * 4,
        *["ana"] * 4,
    ]
    assert table["page"].tolist() == list(range(10)) * 2
    assert table["group"].tolist() == table["sequence"].tolist() == ["a.tif"] * 10 + ["b.npy"] * 10
    assert set(read("onsets", classes=["inter", "pro", "meta", "ana"], group="well").table["group"]) == {"W", "V"}


def test_frames_before_the_first_onset_belong_to_the_first_stage(movies, read):
    movies("file,inter,pro\na.tif,4,6\nb.npy,0,1\n")
    table = read("onsets").table  # columns of numbers are the stages
    assert table["label"].tolist() == ["inter"] * 6 + ["pro"] * 4 + ["inter"] + ["pro"] * 9


def test_columns_may_be_called_otherwise_and_frames_counted_from_one(movies, read):
    movies("movie,A,B\na.tif,1,4\nb.npy,1,2\n")
    rows = read("onsets", file="movie", classes={"A": "inter", "B": "pro"}, options={"first": 1})
    assert rows.classes == ("inter", "pro")
    assert rows.table["label"].tolist() == ["inter"] * 3 + ["pro"] * 7 + ["inter"] + ["pro"] * 9


def test_movies_without_onsets_are_told(movies, read):
    movies("file,pro,meta\na.tif,3,5\n")
    rows = read("onsets", classes=["pro", "meta"])
    assert [(p.kind, p.ids) for p in rows.problems] == [("no label", ("b.npy",))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,pro,meta\na.tif,5,3\n", r"meta to begin after pro in onsets.csv, line 2, got 3 and 5"),
        ("file,pro,meta\na.tif,3,5\nb.npy,3,10\n", r"frames 0 to 9 of b.npy, got 10 in onsets.csv, line 3"),
        ("file,pro,meta\na.tif,3,soon\n", r"meta begins in onsets.csv, line 2, got 'soon'"),
        ("file,pro,telo\na.tif,3,5\n", r"column 'meta' in onsets.csv"),
        ("file,pro,meta\na.tif,3,5\na.tif,3,5\n", r"line 3 has a.tif again"),
        ("file,pro,meta\nc.tif,3,5\n", r"c.tif, found none"),
        ("file,pro,meta\n../c.tif,3,5\n", r"leads outside"),
    ],
)
def test_mistakes_are_told_in_one_line(movies, read, text, said):
    movies(text)
    with pytest.raises(UserError, match=said) as caught:
        read("onsets", classes=["pro", "meta"])
    assert "\n" not in str(caught.value)


def test_a_movie_of_one_frame(movies, read, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((12, 16), np.uint8))
    movies("file,pro,meta\na.tif,0,0\n")
    with pytest.raises(UserError, match=r"several frames in a.tif, found one"):
        read("onsets", classes=["pro", "meta"])

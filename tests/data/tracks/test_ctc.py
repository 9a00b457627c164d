import numpy as np
import pytest
import tifffile
from scipy.ndimage import center_of_mass

from cellml.data.tracks import ctc
from cellml.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """Movie 01 of 4 frames: cell 1 divides after frame 1 into 5 and 6."""
    rng = np.random.default_rng(0)
    (tmp_path / "01").mkdir()
    inner = tmp_path / "01_GT" / "TRA"
    inner.mkdir(parents=True)
    for t in range(4):
        labels = np.zeros((30, 40), np.uint16)
        for label in (1,) if t < 2 else (5, 6):
            y, x = rng.integers(2, 20), 5 + 15 * (label == 6) + rng.integers(0, 5)
            labels[y : y + 5, x : x + 4] = label
        tifffile.imwrite(inner / f"man_track{t:03d}.tif", labels)
        tifffile.imwrite(tmp_path / "01" / f"t{t:03d}.tif", rng.integers(0, 99, (30, 40)).astype(np.uint8))
    (inner / "man_track.txt").write_text("1 0 1 0\n5 2 3 1\n6 2 3 1\n")
    return tmp_path


def test_tracks_lie_at_their_labels_centres(folder):
    found = ctc.read(folder)
    assert set(found["movie"]) == {"01"}
    assert sorted(zip(found["track"], found["frame"], found["parent"], strict=True)) == [
        ("1", 0, ""),
        ("1", 1, ""),
        ("5", 2, "1"),
        ("5", 3, "1"),
        ("6", 2, "1"),
        ("6", 3, "1"),
    ]
    for row in found.itertuples():
        y, x = center_of_mass(tifffile.imread(folder / row.mask) == row.mask_value)
        assert (row.x, row.y) == pytest.approx((x + 0.5, y + 0.5))


def test_results_are_read_too(folder):
    inner = folder / "01_RES"
    (folder / "01_GT" / "TRA").rename(inner)
    (inner / "man_track.txt").rename(inner / "res_track.txt")
    for path in inner.glob("*.tif"):
        path.rename(inner / path.name.replace("man_track", "mask"))
    assert len(ctc.read(folder)) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 0 1\n", "man_track.txt, line 1, got '1 0 1'"),
        ("1 0 1 0\n5 3 2 1\n", "line 2, got '5 3 2 1'"),
        ("1 0 1 0\n1 0 1 0\n", "found 1 again in line 2"),
        ("1 0 1 0\n8 0 1 0\n", r"label 8 in the label images .* line 2"),
        ("\n", "found none"),
    ],
)
def test_bad_lines_are_named(folder, text, said):
    (folder / "01_GT" / "TRA" / "man_track.txt").write_text(text)
    with pytest.raises(UserError, match=said):
        ctc.read(folder)


def test_a_track_file_in_a_folder_of_another_name(folder):
    (folder / "01_GT").rename(folder / "01_OTHER")
    with pytest.raises(UserError, match="MOVIE_GT"):
        ctc.read(folder)
    with pytest.raises(UserError, match=r"man_track.txt or res_track.txt"):
        ctc.read(folder / "01")

"""ImageJ outlines: bytes written by roifile 2026.2.10 and by hand after ImageJ's own description of the format."""

import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import measure

from cellml.data import roi
from cellml.errors import UserError

# roifile.ImagejRoi.frompoints(points).tobytes(), without its second header
PRECISE = bytes.fromhex(
    "496f757400e5070000020001000c000b00040000000000000000000000000000000000000000000000000000000000000000"
    "00a800000000000000000000007000000009000700010000000100090006"
    "3fa00000411c0000410800004000000040200000404000004134000040f00000"
)
PRECISE_POINTS = [[1.25, 2.5], [9.75, 3], [8.5, 11.25], [2, 7.5]]
WHOLE = bytes.fromhex(
    "496f757400e5000000020001000c000a00040000000000000000000000000000000000000000000000000000000000000000"
    "002800000000000000000000005000000008000700010000000100090005"
)
WHOLE_POINTS = [[1, 2], [9, 3], [8, 11], [2, 7]]
SQUARE = [(10, 20), (14, 20), (14, 24), (10, 24)]


def written(points, kind=8, options=0, version=227, shape=0):
    """Bytes of a selection, from the layout in ImageJ's RoiDecoder."""
    x, y = np.array(points, dtype=int).T
    box = (y.min(), x.min(), y.max(), x.max())
    head = bytearray(64)
    struct.pack_into(">4shBx4hH", head, 0, b"Iout", version, kind, *box, len(points))
    struct.pack_into(">i", head, 36, shape)
    struct.pack_into(">h", head, 50, options)
    return bytes(head) + (x - x.min()).astype(">i2").tobytes() + (y - y.min()).astype(">i2").tobytes()


def test_points_of_another_writer_with_and_without_sub_pixels():
    np.testing.assert_array_equal(roi.decode(PRECISE), PRECISE_POINTS)
    np.testing.assert_array_equal(roi.decode(WHOLE), WHOLE_POINTS)


@given(st.lists(st.tuples(st.integers(-300, 3000), st.integers(-300, 3000)), min_size=3, max_size=40))
def test_whole_points_come_back(points):
    np.testing.assert_array_equal(roi.decode(written(points, kind=7)), points)


def test_rectangle_and_oval_fill_their_box():
    square = roi.decode(written(SQUARE, kind=1))
    np.testing.assert_array_equal(square, SQUARE)
    oval = roi.decode(written(SQUARE, kind=2))
    np.testing.assert_allclose(np.hypot(*(oval - (12, 22)).T), 2)


def test_a_version_before_sub_pixels_ignores_their_bit():
    np.testing.assert_array_equal(roi.decode(written(SQUARE, options=128, version=221)), SQUARE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no ImageJ selection"),
        (b"\x89PNG" + bytes(80), "no ImageJ selection"),
        (WHOLE[:70], "cut short"),
        (written(SQUARE, kind=3), "kind line"),
        (written(SQUARE, kind=10), "kind points"),
        (written(SQUARE[:2]), "2 points"),
        (written(SQUARE, kind=1, shape=30), "composite"),
    ],
)
def test_other_bytes_are_refused_with_the_files_name(tmp_path, content, said):
    (tmp_path / "3-7.roi").write_bytes(content)
    with pytest.raises(UserError, match=f"3-7.roi.*{said}"):
        roi.read(tmp_path / "3-7.roi")
    with pytest.raises(UserError, match=f"3-7.roi.*{said}"):
        roi.read(tmp_path)


def test_the_same_from_file_folder_zip_and_tar(tmp_path):
    folder = tmp_path / "outlines"
    folder.mkdir()
    contents = {"10-2.roi": WHOLE, "2-1.roi": PRECISE}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("no outline")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive, tarfile.open(tmp_path / "all.tar.gz", "w:gz") as tar:
        for name, content in contents.items():
            archive.writestr(name, content)
            info = tarfile.TarInfo(f"deep/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    for path in (folder, tmp_path / "all.zip", tmp_path / "all.tar.gz"):
        found = roi.read(path)
        assert [outline.name for outline in found] == ["2-1", "10-2"]
        np.testing.assert_array_equal(found[1].points, WHOLE_POINTS)
    assert [outline.name for outline in roi.read(folder / "2-1.roi")] == ["2-1"]


@pytest.mark.parametrize(
    ("name", "said"), [("no.zip", "found nothing"), ("bad.zip", "cannot be read"), ("a.txt", ".txt")]
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, said):
    if name != "no.zip":
        (tmp_path / name).write_bytes(b"PK nothing")
    with pytest.raises(UserError, match=said):
        roi.read(tmp_path / name)


def test_centroid_as_scikit_image_finds_it():
    points = np.array([(3, 4), (30, 8), (24, 36), (14, 20), (6, 28)], dtype=float)
    grid = np.arange(800) / 20  # pixel centres of a 20-fold finer grid
    inside = measure.grid_points_in_poly((800, 800), points[:, ::-1] * 20)
    region = measure.regionprops(inside.astype(np.uint8))[0]
    expected = np.interp(region.centroid[::-1], np.arange(800), grid)
    np.testing.assert_allclose(roi.centroid(points), expected, atol=0.05)
    np.testing.assert_allclose(roi.centroid(points[::-1]), roi.centroid(points))


def test_the_centroid_of_points_on_a_line_is_their_mean():
    assert roi.centroid(np.array([(0.0, 0.0), (4.0, 4.0), (8.0, 8.0)])) == (4, 4)


def test_frames_are_counted_from_one_unless_one_is_zero():
    def outlines(*names):
        return [roi.Outline(name, np.zeros((3, 2))) for name in names]

    assert roi.numbered(outlines("1-22", "60-07"), "x") == [(0, "22"), (59, "7")]
    assert roi.numbered(outlines("0-1", "3-1"), "x") == [(0, "1"), (3, "1")]
    with pytest.raises(UserError, match="cell_a"):
        roi.numbered(outlines("1-2", "cell_a"), "x")
    with pytest.raises(UserError, match="two of 1-2"):
        roi.numbered(outlines("1-2", "1-3", "1-02"), "x")


def test_outlines_of_a_real_movie(real_data):
    found = roi.read(real_data / "mdamb231-movie" / "rois.tar.gz")
    numbers = roi.numbered(found, "rois")
    assert len(found) == 2471
    assert {frame for frame, _ in numbers} == set(range(60))
    assert all(outline.points.min() >= 0 and outline.points.max() <= 615 for outline in found)

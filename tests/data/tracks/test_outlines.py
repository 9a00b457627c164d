import struct
import zipfile

import numpy as np
import pytest
import tifffile
from skimage.draw import polygon2mask

from cellml.data.tracks import outlines


def roi_bytes(points):
    """A polygon as ImageJ writes it: header of 64 bytes, then x and y relative to the bounding box."""
    x, y = np.array(points).T
    header = bytearray(64)
    header[:4] = b"Iout"
    struct.pack_into(">hB", header, 4, 227, 0)
    struct.pack_into(">4hH", header, 8, y.min(), x.min(), y.max(), x.max(), len(points))
    return bytes(header) + np.concatenate([x - x.min(), y - y.min()]).astype(">i2").tobytes()


SQUARE = [(4, 6), (12, 6), (12, 16), (4, 16)]


@pytest.fixture
def folder(tmp_path):
    """Frames 1 to 3; cell 7 moves right by 3 pixels a frame, cell 0 stands still in the first two."""
    (tmp_path / "frames").mkdir()
    for t in (1, 2, 3):
        tifffile.imwrite(tmp_path / "frames" / f"{t:04d}.tif", np.full((30, 40), t, np.uint8))
    with zipfile.ZipFile(tmp_path / "rois.zip", "w") as archive:
        for t in (1, 2, 3):
            archive.writestr(f"{t}-7.roi", roi_bytes([(x + 3 * t, y) for x, y in SQUARE]))
        for t in (1, 2):
            archive.writestr(f"{t}-0.roi", roi_bytes([(x + 20, y + 10) for x, y in SQUARE]))
    return tmp_path


def test_tracks_lie_at_the_outlines_centres(folder, tmp_path):
    found = outlines.read(folder, tmp_path / "cache", "frames").sort_values(["track", "frame"])
    assert found[["track", "frame", "x", "y", "line"]].values.tolist() == [
        ["0", 0, 28.0, 21.0, "1-0.roi"],
        ["0", 1, 28.0, 21.0, "2-0.roi"],
        ["7", 0, 11.0, 11.0, "1-7.roi"],
        ["7", 1, 14.0, 11.0, "2-7.roi"],
        ["7", 2, 17.0, 11.0, "3-7.roi"],
    ]


def test_masks_have_the_pixels_whose_centres_lie_inside(folder, tmp_path):
    for _ in range(2):  # the second time from the cache
        found = outlines.read(folder, tmp_path / "cache", "frames")
        for row in found.itertuples():
            shift = np.array([20, 10] if row.track == "0" else [3 * (row.frame + 1), 0])
            corners = np.array(SQUARE) + shift - 0.5
            expected = polygon2mask((30, 40), corners[:, ::-1])
            np.testing.assert_array_equal(tifffile.imread(row.mask) == row.mask_value, expected)


def test_where_outlines_are_found(folder, tmp_path):
    assert outlines.archive(folder) == folder / "rois.zip"
    assert outlines.archive(folder / "frames") is None
    (folder / "rois.zip").unlink()
    (folder / "outlines").mkdir()
    (folder / "outlines" / "1-1.roi").write_bytes(roi_bytes(SQUARE))
    assert outlines.archive(folder) == folder / "outlines"

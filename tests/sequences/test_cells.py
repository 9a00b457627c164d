import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage
from skimage.draw import polygon2mask

from cellml.data import roi
from cellml.errors import UserError
from cellml.sequences import cells as subject
from cellml.sequences.cells import Cells
from cellml.sequences.movies import opened
from tests.sequences import fields as helpers


def test_rows_come_by_track_in_natural_order_and_frame():
    rows = pd.DataFrame({"track": ["10", "2", "2"], "frame": [0, 3, 1], "x": 1.0, "y": 2.0})
    made = Cells.of(rows, [np.zeros((3, 2)), np.ones((3, 2)), None])
    assert made.table[["track", "frame"]].values.tolist() == [["2", 1], ["2", 3], ["10", 0]]
    assert made.outlines[0] is None
    assert made.outlines[1].max() == 1
    assert (made.table[["parent", "observed"]] == "").all(axis=None)


def test_positions_of_frames_and_tracks():
    cells = helpers.cells()
    rows = cells.frames(helpers.FRAMES)
    assert [len(r) for r in rows] == [3] * 6 + [4] * 6
    assert all((cells.table["frame"].iloc[r] == t).all() for t, r in enumerate(rows))
    for track, at in cells.tracks():
        assert (cells.table["track"].iloc[at] == track).all()
        assert (np.diff(cells.table["frame"].iloc[at]) == 1).all()
    assert [len(r) for r in cells.where((cells.table["track"] == "3").to_numpy()).frames(8)] == [1] * 6 + [0, 0]


def test_missing_frames_are_filled_on_a_line():
    rows = pd.DataFrame({"track": "a", "frame": [2, 3, 6], "x": [0.0, 1.0, 7.0], "y": [5.0, 5.0, 2.0]})
    filled, there = Cells.of(rows).filled()
    assert filled.table["frame"].tolist() == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(filled.table["x"], [0, 1, 3, 5, 7])
    np.testing.assert_allclose(filled.table["y"], [5, 5, 4, 3, 2])
    assert there.tolist() == [True, True, False, False, True]


def test_cells_of_outlines_lie_at_their_centroids():
    outlines = [roi.Outline("2-7", helpers.circle(30, 40, 5)), roi.Outline("1-7", helpers.circle(10.5, 20, 5))]
    made = subject.from_outlines(outlines, "rois", 2)
    np.testing.assert_allclose(made.table[["frame", "x", "y"]], [[0, 10.5, 20], [1, 30, 40]])
    with pytest.raises(UserError, match=r"1 frames.*2-7"):
        subject.from_outlines(outlines, "rois", 1)


def test_masks_give_centres_and_outlines_around_their_pixels(tmp_path):
    images = helpers.labels("track")
    tifffile.imwrite(tmp_path / "masks.tif", images)
    made = subject.from_masks(opened(tmp_path / "masks.tif"), helpers.FRAMES, helpers.SIZE)
    assert len(made) == len(helpers.centres())
    for row in range(0, len(made), 7):
        at = made.table.iloc[row]
        mask = images[at.frame] == int(at.track)
        y, x = ndimage.center_of_mass(mask)
        np.testing.assert_allclose((at.x, at.y), (x + 0.5, y + 0.5))
        inside = polygon2mask(helpers.SIZE, made.outlines[row][:, ::-1] - 0.5)
        np.testing.assert_array_equal(inside, mask)


def test_masks_that_do_not_fit_the_movie(tmp_path):
    tifffile.imwrite(tmp_path / "masks.tif", np.zeros((5, 20, 30), np.uint8))
    masks = opened(tmp_path / "masks.tif")
    with pytest.raises(UserError, match=r"Expected 4 masks of 20 x 30.*got 5"):
        subject.from_masks(masks, 4, (20, 30))
    with pytest.raises(UserError, match="21 x 30"):
        subject.from_masks(masks, 5, (21, 30))
    with pytest.raises(UserError, match="every pixel is 0"):
        subject.from_masks(masks, 5, (20, 30))


def test_area_and_extent_of_outlines():
    square = np.array([(2.0, 2.0), (6.0, 2.0), (6.0, 8.0), (2.0, 8.0)])
    assert subject.area(square) == subject.area(square[::-1]) == 24
    rows = pd.DataFrame({"track": ["a", "b"], "frame": 0, "x": 1.0, "y": 1.0})
    assert subject.extent(Cells.of(rows, [square, None])) == 6
    assert subject.extent(Cells.of(rows)) is None


def test_labels_beneath_tracks_lend_them_their_outlines(tmp_path):
    tifffile.imwrite(tmp_path / "masks.tif", helpers.labels())
    rows = helpers.centres()
    rows.loc[0, ["x", "y"]] = 3.0, 80.0  # background
    rows.loc[1, "x"] = -5.0
    made = subject.with_outlines(Cells.of(rows), opened(tmp_path / "masks.tif"))
    assert sum(outline is None for outline in made.outlines) == 2
    for row in np.flatnonzero([outline is not None for outline in made.outlines]).tolist():
        np.testing.assert_allclose(roi.centroid(made.outlines[row]), made.table[["x", "y"]].iloc[row], atol=0.6)

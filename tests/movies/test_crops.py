import numpy as np
import pytest
import tifffile

from cellml.movies import crops
from cellml.sequences.cells import Cells
from cellml.sequences.movies import opened
from tests.sequences import fields as helpers


def silent(items, what):
    return items


@pytest.fixture
def movie(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", helpers.frames())
    return opened(tmp_path / "movie.tif")


@pytest.mark.parametrize(("side", "channels"), [(16, 1), (33, 3), (64, 1)])
def test_windows_have_their_cells_in_the_middle(movie, side, channels):
    cells = helpers.cells()
    padded = np.pad(helpers.frames(), ((0, 0), (64, 64), (64, 64)), mode="edge")
    with crops.cut(movie, cells, side, channels, silent) as windows:
        assert windows.shape == (len(cells), side, side, channels)
        for row, at in enumerate(cells.table.itertuples()):
            x, y = int(at.x) - side // 2 + 64, int(at.y) - side // 2 + 64
            expected = padded[at.frame, y : y + side, x : x + side]
            for c in range(channels):
                np.testing.assert_array_equal(windows[row, :, :, c], expected)


def test_each_track_is_asked_about_once_and_in_order_of_time(movie):
    cells, asked = helpers.cells(), []

    def stages(windows):
        asked.append(windows[:, 0, 0, 0].astype(int))
        return np.stack([np.full(len(windows), 2.0), np.arange(len(windows)) + 0.0], axis=1)

    windows = np.zeros((len(cells), 1, 1, 1))
    windows[:, 0, 0, 0] = cells.table["frame"]
    said = crops.probabilities(windows, cells, stages, 2, silent)
    assert [frames.tolist() for frames in asked] == [
        list(range(12)), list(range(12)), list(range(6)), list(range(6, 12)), list(range(6, 12)),
    ]  # fmt: skip
    np.testing.assert_allclose(said.sum(axis=1), 1)
    np.testing.assert_allclose(said[:3, 1], [0, 1 / 3, 0.5])


def test_windows_are_on_disk_and_frames_are_read_once(movie):
    cells = helpers.cells()
    read = []
    watched = type(movie)(*(getattr(movie, name) for name in ("path", "names", "shape", "dtype", "first")),
                          lambda t: (read.append(t), movie.read(t))[1])  # fmt: skip
    late = Cells.of(cells.table[cells.table["frame"] > 3])
    with crops.cut(watched, late, 8, 1, silent) as windows:
        assert isinstance(windows, np.memmap)
    assert read == list(range(4, 12))

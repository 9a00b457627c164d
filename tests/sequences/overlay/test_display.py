import numpy as np
import pytest
import tifffile

from cellml.sequences.movies import opened
from cellml.sequences.overlay import display
from cellml.sequences.overlay.display import Range


@pytest.mark.parametrize(
    ("size", "side"), [((96, 96), 960), ((615, 600), 960), ((1200, 900), 1200), ((4000, 3000), 1600)]
)
def test_fields_are_enlarged_to_be_read_and_reduced_to_be_played(size, side):
    assert max(size) * display.zoom(size) == pytest.approx(side)


def test_one_range_for_the_whole_movie(tmp_path):
    pixels = np.linspace(0, 1, 6)[:, None, None] * np.linspace(100, 4000, 900).reshape(30, 30)
    tifffile.imwrite(tmp_path / "m.tif", pixels.astype(np.uint16), photometric="minisblack")
    shown = Range.of(opened(tmp_path / "m.tif"))
    assert shown.low[0] < 10
    assert shown.high[0] == pytest.approx(np.percentile(pixels[-1], 99.8), rel=0.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_levels_are_stretched(dtype):
    frame = np.array([[20, 60], [100, 200]], dtype=dtype)[:, :, None]
    made = np.asarray(display.picture(frame, Range(np.array([20.0]), np.array([100.0])), 1))
    assert made[:, :, 0].tolist() == [[0, 127], [255, 255]]
    assert (made == made[:, :, :1]).all()


def test_colours_stay_in_their_channels():
    frame = np.zeros((4, 6, 3), dtype=np.uint16)
    frame[:, :, 1] = 500
    made = np.asarray(display.picture(frame, Range(np.zeros(3), np.full(3, 500.0)), 2))
    assert made.shape == (8, 12, 3)
    assert (made == (0, 255, 0)).all()

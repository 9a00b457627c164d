import numpy as np
import pytest
import tifffile
from PIL import Image

from cellml.errors import UserError
from cellml.sequences import movies

RNG = np.random.default_rng(0)


def test_pages_and_files_give_the_same_frames(tmp_path):
    pixels = RNG.integers(0, 250, (4, 20, 24)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "movie.tif", pixels, photometric="minisblack")
    (tmp_path / "frames").mkdir()
    for t, frame in enumerate(pixels):
        Image.fromarray(frame).save(tmp_path / "frames" / f"t{t + 8}.png")
    paged, foldered = movies.opened(tmp_path / "movie.tif"), movies.opened(tmp_path / "frames")
    for movie in (paged, foldered):
        assert (len(movie), movie.shape, movie.dtype) == (4, (20, 24, 1), "uint8")
        for t in (3, 0):
            np.testing.assert_array_equal(movie.frame(t)[:, :, 0], pixels[t])
    assert (paged.first, foldered.first) == (0, 8)
    assert foldered.names[2] == "frames/t10.png"


def test_channels_are_chosen(tmp_path):
    pixels = RNG.integers(0, 250, (3, 20, 24, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "movie.tif", pixels, photometric="rgb")
    movie = movies.opened(tmp_path / "movie.tif", (2, 0))
    np.testing.assert_array_equal(movie.frame(1), pixels[1][:, :, [2, 0]])
    with pytest.raises(UserError, match="between 0 and 2"):
        movies.opened(tmp_path / "movie.tif", (3,))


def test_a_frame_of_another_dtype_is_named(tmp_path):
    for t, dtype in enumerate((np.uint8, np.uint8, np.uint16)):
        tifffile.imwrite(tmp_path / f"t{t}.tif", np.ones((20, 24), dtype))
    movie = movies.opened(tmp_path)
    with pytest.raises(UserError, match=r"uint8 as the first.*uint16 in .*t2\.tif"):
        movie.frame(2)


def test_windows_follow_a_cell_beyond_the_border(tmp_path):
    pixels = RNG.integers(0, 250, (4, 20, 24)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "movie.tif", pixels, photometric="minisblack")
    whole = movies.opened(tmp_path / "movie.tif")
    part = movies.windows(whole, [1, 3], np.array([[-2, 4], [18, 12]]), 10)
    assert (len(part), part.shape) == (2, (10, 10, 1))
    padded = np.pad(pixels, ((0, 0), (10, 10), (10, 10)), mode="edge")
    np.testing.assert_array_equal(part.frame(0)[:, :, 0], padded[1, 14:24, 8:18])
    np.testing.assert_array_equal(part.frame(1)[:, :, 0], padded[3, 22:32, 28:38])

import resource
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from cellml.data import movie
from cellml.data.images import BadImageError
from cellml.errors import UserError

RNG = np.random.default_rng(0)


def pixels(*shape, dtype=np.uint8):
    return RNG.integers(0, 200, shape).astype(dtype)


def _write(path, array, **options):
    tifffile.imwrite(path, array, **options)
    return movie.Movie(path)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((6, 9, 11), {}),
        ((6, 9, 11), {"imagej": True, "metadata": {"axes": "TYX"}}),
        ((6, 9, 11), {"compression": "zlib"}),
        ((6, 9, 11), {"imagej": True, "metadata": {"axes": "ZYX"}}),
        ((6, 9, 11), {"metadata": {"axes": "TYX"}, "ome": True}),
        ((6, 9, 11), {"bigtiff": True, "byteorder": ">"}),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_tiffs_however_they_were_written(tmp_path, shape, options, dtype):
    array = pixels(*shape, dtype=dtype)
    found = _write(tmp_path / "m.tif", array, **options)
    assert len(found) == 6
    assert found.size == (9, 11)
    for t in range(6):
        assert found[t].dtype == dtype
        np.testing.assert_array_equal(found[t][..., 0], array[t])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_channels_are_last(tmp_path, compression):
    array = pixels(5, 2, 9, 11)
    found = _write(tmp_path / "a.tif", array, metadata={"axes": "TCYX"}, compression=compression)
    other = _write(tmp_path / "b.tif", array.transpose(1, 0, 2, 3), metadata={"axes": "CTYX"}, compression=compression)
    colour = _write(tmp_path / "c.tif", pixels(5, 9, 11, 3), photometric="rgb", compression=compression)
    assert len(found) == len(other) == len(colour) == 5
    for t in range(5):
        np.testing.assert_array_equal(found[t], array[t].transpose(1, 2, 0))
        np.testing.assert_array_equal(other[t], array[t].transpose(1, 2, 0))
        np.testing.assert_array_equal(colour[t], tifffile.imread(tmp_path / "c.tif")[t])
    plain = pixels(5, 9, 11, 2)
    np.testing.assert_array_equal(_write(tmp_path / "d.tif", plain)[4], plain[4])


@pytest.mark.parametrize("shape", [(5, 9, 41), (5, 9, 41, 3), (5, 3, 9, 41)])
def test_arrays(tmp_path, shape):
    array = pixels(*shape)
    np.save(tmp_path / "m.npy", array)
    last = array if shape[-1] == 3 else array[..., None] if array.ndim == 3 else array.transpose(0, 2, 3, 1)
    found = movie.Movie(tmp_path / "m.npy")
    assert len(found) == 5
    assert found.size == (9, 41)
    np.testing.assert_array_equal(found[3], last[3])


def test_one_image_is_a_movie_of_one_frame(tmp_path):
    found = _write(tmp_path / "m.tif", pixels(9, 11))
    assert len(found) == 1
    assert not movie.is_movie(tmp_path / "m.tif")
    assert not movie.is_movie(tmp_path / "absent.tif")


def test_what_is_no_movie_is_told_in_one_line(tmp_path):
    with tifffile.TiffWriter(tmp_path / "sizes.tif") as file:
        file.write(pixels(9, 11))
        file.write(pixels(9, 12))
    tifffile.imwrite(tmp_path / "depth.tif", pixels(3, 4, 9, 11), imagej=True, metadata={"axes": "TZYX"})
    tifffile.imwrite(tmp_path / "float.tif", pixels(3, 9, 11).astype(np.float32), metadata={"axes": "TYX"})
    (tmp_path / "broken.tif").write_bytes(b"nothing")
    np.save(tmp_path / "flat.npy", pixels(9, 11))
    for name, said in (
        ("sizes.tif", r"one size in .*sizes.tif, found \(9, 11\) and \(9, 12\)"),
        ("depth.tif", "Z of 4"),
        ("broken.tif", "cannot be read as a movie"),
        ("flat.npy", r"got shape \(9, 11\)"),
        ("absent.tif", "found no file"),
    ):
        with pytest.raises(BadImageError, match=said) as caught:
            movie.Movie(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadImageError, match="float32"):
        movie.read_frame(tmp_path / "float.tif", 0)
    tifffile.imwrite(tmp_path / "ok.tif", pixels(6, 9, 11))
    with pytest.raises(BadImageError, match="Expected frames 0 to 5"):
        movie.read_frame(tmp_path / "ok.tif", 6)
    with pytest.raises(UserError, match=r"data.channels between 0 and 0"):
        movie.read_frame(tmp_path / "ok.tif", 0, [1])


def test_a_file_that_changed_is_opened_anew(tmp_path):
    path = tmp_path / "m.npy"
    first, second = pixels(3, 9, 11), pixels(4, 9, 11)
    np.save(path, first)
    np.testing.assert_array_equal(movie.read_frame(path, 1)[..., 0], first[1])
    np.save(path, second)
    np.testing.assert_array_equal(movie.read_frame(path, 3)[..., 0], second[3])


READ = """
import resource, sys
from pathlib import Path
from cellml.data import movie
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
whole = movie.Movie(sys.argv[1])
total = sum(int(whole[t].max()) for t in range(len(whole)))
print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_memory_holds_a_frame_and_not_the_movie(tmp_path, suffix):
    path, shape = tmp_path / f"m{suffix}", (60, 1024, 1024)  # 120 MB
    if suffix == ".npy":
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=shape)
    else:
        array = tifffile.memmap(path, shape=shape, dtype=np.uint16, metadata={"axes": "TYX"})
    array[:, 0, 0] = 7
    array.flush()
    del array
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    total, kilobytes = map(int, done.stdout.split())
    assert total == 7 * 60
    assert kilobytes < 30_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0

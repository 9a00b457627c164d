import numpy as np
import pytest
import tifffile
from PIL import Image

from cellml.data.tracks import fields
from cellml.errors import UserError


def frames(folder, names, shape=(20, 30)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.full(shape, 9, np.uint8)).save(folder / name)


def test_a_folder_of_frames_is_in_time_order(tmp_path):
    frames(tmp_path / "m", ["t9.png", "t10.png", "t8.png"])
    found = fields.field(tmp_path, "m")
    assert found.files == ("m/t8.png", "m/t9.png", "m/t10.png")
    assert (found.length, found.size, found.paged, found.first) == (3, (20, 30), False, 8)
    assert found.file(1) == "m/t9.png"


def test_a_file_of_frames(tmp_path):
    np.save(tmp_path / "m.npy", np.zeros((5, 20, 30), np.uint8))
    found = fields.field(tmp_path, "m.npy")
    assert (found.files, found.length, found.size, found.paged) == (("m.npy",), 5, (20, 30), True)
    assert found.file(4) == "m.npy"


def test_the_number_that_tells_frames_apart_counts(tmp_path):
    assert fields.order(["a_t2_c1.png", "a_t10_c1.png", "a_t6_c1.png"], "a")[0] == [
        "a_t2_c1.png",
        "a_t6_c1.png",
        "a_t10_c1.png",
    ]
    assert fields.order(["x/b.png", "x/a.png"], "x") == (["x/a.png", "x/b.png"], 0)


def test_a_missing_frame_is_named_by_its_neighbours(tmp_path):
    frames(tmp_path / "m", ["c1_t001.png", "c1_t002.png", "c1_t004.png"])
    with pytest.raises(UserError, match=r"frames of m without a gap, found none between m/c1_t002.png and m/c1_t004"):
        fields.field(tmp_path, "m")


def test_frames_of_different_sizes_are_named(tmp_path):
    frames(tmp_path / "m", ["1.png", "2.png"])
    frames(tmp_path / "m", ["3.png"], (20, 31))
    with pytest.raises(UserError, match=r"of m of one size, found 20 x 30 in m/1.png and 20 x 31 in m/3.png"):
        fields.field(tmp_path, "m")


def test_a_movie_of_one_frame_is_none(tmp_path):
    frames(tmp_path / "m", ["1.png"])
    tifffile.imwrite(tmp_path / "one.tif", np.zeros((20, 30), np.uint8))
    for name, said in (("m", r"several frames in .*m, found 1"), ("one.tif", "several frames in one.tif, found one")):
        with pytest.raises(UserError, match=said):
            fields.field(tmp_path, name)
    with pytest.raises(UserError, match=r"Expected a movie .* at .*absent, found none"):
        fields.field(tmp_path, "absent")

import os

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cellml.data import decode, images
from cellml.errors import UserError

RNG = np.random.default_rng(0)


def _save(path, height=10, width=12, channels=3):
    pixels = RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)
    Image.fromarray(pixels.squeeze()).save(path)
    return pixels


def _table(files, boxes=None):
    table = pd.DataFrame({"id": [f"{f}#{n}" for n, f in enumerate(files)], "file": files})
    if boxes is not None:
        table[["x0", "y0", "x1", "y1"]] = boxes
    return table


def _build(root, table, **options):
    return decode.build(table, root, root / "cache", **options)


def test_bad_files_become_problems_and_the_others_go_on(tmp_path):
    good = [_save(tmp_path / f"{n}.png") for n in range(2)]
    (tmp_path / "broken.png").write_bytes(b"nothing")
    Image.new("RGB", (5, 5), (7, 8, 9)).save(tmp_path / "flat.png")
    files = ["broken.png", "0.png", "flat.png", "absent.png", "1.png"]
    for _ in range(2):  # the second time from the cache
        decoded = _build(tmp_path, _table(files))
        assert decoded.rows.tolist() == [-1, 0, -1, -1, 1]
        assert [len(h) for h in decoded.hashes] == [0, 32, 0, 0, 32]
        found = {p.kind: p for p in decoded.problems}
        assert {kind: p.ids for kind, p in found.items()} == {
            "unreadable": ("broken.png#0",),
            "empty": ("flat.png#2",),
            "missing": ("absent.png#3",),
        }
        assert all(name in found[kind].message for kind, name in [("unreadable", "broken"), ("missing", "absent")])
        assert str(tmp_path) not in found["unreadable"].message
        assert np.array_equal(decoded.pixels[1], good[1])


def test_second_build_reads_no_image_until_something_changes(tmp_path, monkeypatch):
    for n in range(3):
        _save(tmp_path / f"{n}.png")
    table = _table(["0.png", "1.png", "2.png"])
    reads = []
    real = images.read_image
    monkeypatch.setattr(decode.images, "read_image", lambda *a: reads.append(a) or real(*a))
    first = _build(tmp_path, table)
    assert len(reads) == 3
    assert _build(tmp_path, table).hashes.tolist() == first.hashes.tolist()
    assert len(reads) == 3
    os.utime(tmp_path / "1.png", ns=(1, 1))
    _build(tmp_path, table)
    assert len(reads) == 6
    _build(tmp_path, table, channels=[0])
    assert len(reads) == 9


def test_hashes_tell_pixels_apart_and_nothing_else(tmp_path):
    pixels = _save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "b.bmp")
    tifffile.imwrite(tmp_path / "c.tif", pixels.reshape(12, 10, 3))
    changed = pixels.copy()
    changed[3, 4, 1] ^= 1
    Image.fromarray(changed).save(tmp_path / "d.png")
    a, b, c, d = _build(tmp_path, _table(["a.png", "b.bmp", "c.tif", "d.png"])).hashes
    assert a == b
    assert len({a, c, d}) == 3


def test_many_boxes_decode_a_file_once_and_cut_it(tmp_path, monkeypatch):
    pixels = _save(tmp_path / "a.png", 20, 30)
    reads = []
    real = images.read_image
    monkeypatch.setattr(decode.images, "read_image", lambda *a: reads.append(a) or real(*a))
    boxes = [(0, 0, 30, 20), (3, 4, 10, 9), (-5, -2, 4, 6), (25, 15, 40, 31), (5, 5, 5, 9)]
    decoded = _build(tmp_path, _table(["a.png"] * 5, boxes))
    assert len(reads) == 1
    assert decoded.rows.tolist() == [0, 1, 2, 3, -1]
    assert decoded.problems[0].kind == "zero-area box"
    padded = np.pad(pixels, ((50, 50), (50, 50), (0, 0)), mode="edge")
    for row, (x0, y0, x1, y1) in enumerate(boxes[:4]):
        assert np.array_equal(decoded.pixels[row], padded[50 + y0 : 50 + y1, 50 + x0 : 50 + x1])


@pytest.mark.parametrize("odd", [1, 4])
def test_a_few_images_of_another_kind_are_left_out_and_many_are_an_error(tmp_path, odd):
    files = [f"{n}.png" for n in range(40)]
    for n, file in enumerate(files):
        _save(tmp_path / file, channels=1 if n < odd else 3)
    if odd == 1:
        decoded = _build(tmp_path, _table(files))
        assert decoded.pixels.channels == 3
        assert [p.kind for p in decoded.problems] == ["mixed kind"]
        assert decoded.problems[0].ids == ("0.png#0",)
        assert decoded.rows[0] == -1
        assert len(decoded.pixels) == 39
    else:
        with pytest.raises(UserError, match=r"36 of uint8 with 3 channels and 4 of uint8 with 1 .0.png"):
            _build(tmp_path, _table(files))


def test_dtypes_are_told_apart(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 9, (8, 8)).astype(np.uint16))
    tifffile.imwrite(tmp_path / "b.tif", RNG.integers(0, 9, (8, 8)).astype(np.uint8))
    with pytest.raises(UserError, match=r"1 of uint16 with 1 channels and 1 of uint8 with 1 .b.tif"):
        _build(tmp_path, _table(["a.tif", "b.tif"]))


def test_nothing_readable_is_an_error_with_the_first_reason(tmp_path):
    for _ in range(2):
        with pytest.raises(UserError, match=r"Expected readable images .* found none: .*x.png"):
            _build(tmp_path, _table(["x.png", "y.png"]))


def test_a_channel_that_is_not_there_is_an_error_not_a_problem(tmp_path):
    _save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"data.channels between 0 and 2.*got 5"):
        _build(tmp_path, _table(["a.png"]), channels=[5])
    assert not list((tmp_path / "cache" / "pixels").iterdir())


def _movie(path, frames=5):
    pixels = RNG.integers(0, 256, (frames, 12, 16), dtype=np.uint8)
    tifffile.imwrite(path, pixels, metadata={"axes": "TYX"})
    return pixels


def test_frames_of_a_movie_are_read_one_by_one_and_cut(tmp_path, monkeypatch):
    pixels = _movie(tmp_path / "m.tif")
    pixels[2] = 7
    tifffile.imwrite(tmp_path / "m.tif", pixels, metadata={"axes": "TYX"})
    table = _table(["m.tif"] * 6, [(0, 0, 4, 4), (2, 3, 6, 7)] * 3)
    table["page"], table["sequence"] = [0, 0, 2, 2, 4, 4], "a"
    reads = []
    real = decode.movie.read_frame
    monkeypatch.setattr(decode.movie, "read_frame", lambda *a: reads.append(a[1]) or real(*a))
    decoded = _build(tmp_path, table)
    assert sorted(reads) == [0, 2, 4]  # each frame once
    assert decoded.rows.tolist() == list(range(6))  # a constant frame stays
    for row, (page, (x, y)) in enumerate(zip(table["page"], [(0, 0), (2, 3)] * 3, strict=True)):
        np.testing.assert_array_equal(decoded.pixels[row][..., 0], pixels[page, y : y + 4, x : x + 4])
    _build(tmp_path, table)
    assert len(reads) == 3
    assert _build(tmp_path, table.assign(page=[0, 0, 1, 1, 4, 4])).hashes[2] != decoded.hashes[2]


def test_a_frame_that_is_not_there_is_a_problem(tmp_path):
    _movie(tmp_path / "m.tif")
    table = _table(["m.tif", "m.tif", "gone.tif"])
    table["page"], table["sequence"] = [4, 5, 0], "a"
    decoded = _build(tmp_path, table)
    assert decoded.rows.tolist() == [0, -1, -1]
    assert [p.kind for p in decoded.problems] == ["unreadable", "missing"]
    assert "frames 0 to 4 of m.tif, asked for 5" in decoded.problems[0].message

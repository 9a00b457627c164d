import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cellml.data import masks
from cellml.data.manifest import Manifest
from cellml.errors import UserError


def manifest(folder, marks, boxes=None):
    """Rows a/b, one for each mask (H, W) or None."""
    rows = []
    for n, mark in enumerate(marks):
        shape = (20, 30) if mark is None else mark.shape
        Image.fromarray(np.full(shape, 90, np.uint8)).save(folder / f"{n}.png")
        if mark is not None:
            Image.fromarray(mark).save(folder / f"m{n}.png")
        rows.append((str(n), f"{n}.png", "a", str(n), "test", "", n, f"m{n}.png" if mark is not None else ""))
    table = pd.DataFrame(rows, columns=["id", "file", "label", "group", "split", "pixels", "row", "mask"])
    if boxes is not None:
        table[["x0", "y0", "x1", "y1"]] = boxes
    return Manifest(table, ("a", "b"))


def square(shape, rows, columns, value=255):
    mark = np.zeros(shape, np.uint8)
    mark[rows, columns] = value
    return mark


def test_masks_lie_as_the_network_sees_their_images(tmp_path):
    mark = square((40, 40), slice(10, 20), slice(20, 40))
    rows = manifest(tmp_path, [mark, None])
    found = masks.read(rows, tmp_path, None, 20)
    assert found.dtype == bool
    np.testing.assert_array_equal(found[0], mark[::2, ::2] > 0)
    assert not found[1].any()
    cropped = masks.read(rows, tmp_path, 20, 20)
    np.testing.assert_array_equal(cropped[0], mark[10:30, 10:30] > 0)


def test_any_value_above_zero_marks_and_boxes_cut(tmp_path):
    mark = square((40, 40), slice(10, 20), slice(20, 40), value=1)
    found = masks.read(manifest(tmp_path, [mark], boxes=[[20, 10, 40, 30]]), tmp_path, None, 20)
    np.testing.assert_array_equal(found[0], mark[10:30, 20:40] > 0)


def test_no_masks_at_all(tmp_path):
    assert masks.read(manifest(tmp_path, [None, None]), tmp_path, None, 20) is None


def test_a_label_image_marks_every_object(tmp_path):
    rows = manifest(tmp_path, [np.zeros((8, 8), np.uint8)])
    tifffile.imwrite(tmp_path / "m0.tif", np.kron(np.array([[0, 1], [700, 0]], np.uint16), np.ones((4, 4), np.uint16)))
    found = masks.read(rows.with_column("mask", ["m0.tif"]), tmp_path, None, 2)
    np.testing.assert_array_equal(found[0], [[False, True], [True, False]])


def test_a_mask_of_another_size_is_one_line(tmp_path):
    rows = manifest(tmp_path, [square((40, 40), slice(0, 5), slice(0, 5))])
    Image.fromarray(np.zeros((39, 40), np.uint8)).save(tmp_path / "m0.png")
    with pytest.raises(UserError, match=r"mask of 40 x 40 pixels as its image has, got 39 x 40 in m0\.png"):
        masks.read(rows, tmp_path, None, 20)


def test_masks_of_movies_are_label_images_of_the_same_frame(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (5, 20, 30)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", rng.integers(0, 99, (5, 20, 30)).astype(np.uint8), metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "l.tif", labels, metadata={"axes": "TYX"})
    rows = [
        (str(n), "m.tif", "a", "g", "test", "", n, "l.tif", page, value, "s", n, 3, 2, 13, 12)
        for n, (page, value) in enumerate([(0, 1), (4, 2), (4, 3), (2, 0)])
    ]
    names = [
        "id",
        "file",
        "label",
        "group",
        "split",
        "pixels",
        "row",
        "mask",
        "page",
        "mask_value",
        "sequence",
        "frame",
    ]
    table = pd.DataFrame(rows, columns=[*names, "x0", "y0", "x1", "y1"])
    found = masks.read(Manifest(table, ("a", "b")), tmp_path, None, 10)
    for n, (page, value) in enumerate([(0, 1), (4, 2), (4, 3), (2, 0)]):
        part = labels[page, 2:12, 3:13]
        np.testing.assert_array_equal(found[n], part == value if value else part > 0)


def test_one_mask_may_serve_all_frames(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((5, 20, 20), np.uint8), metadata={"axes": "TYX"})
    Image.fromarray(square((20, 20), slice(0, 5), slice(0, 5))).save(tmp_path / "l.png")
    rows = [(str(n), "m.tif", "a", "g", "test", "", n, "l.png", n, "s", n) for n in range(3)]
    names = ["id", "file", "label", "group", "split", "pixels", "row", "mask", "page", "sequence", "frame"]
    found = masks.read(Manifest(pd.DataFrame(rows, columns=names), ("a", "b")), tmp_path, None, 20)
    assert found.sum(axis=(1, 2)).tolist() == [25, 25, 25]

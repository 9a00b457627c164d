import numpy as np
import pytest
import tifffile

from cellml.data.sources import cells
from cellml.errors import UserError


def find(root):
    return cells.find(root, "Raw", "Mask")


def test_cells_with_frames_and_masks(tmp_path, picture):
    for cell in ("P1/c2", "P1/c10"):
        for t in (2, 0, 1):
            picture(f"{cell}/Raw/t{t:03d}.png")
            picture(f"{cell}/Mask/t{t:03d}.png")
    found, published = find(tmp_path)
    assert published
    assert [cell.name for cell in found] == ["P1/c2", "P1/c10"]
    assert found[0].files == tuple(f"P1/c2/Raw/t{t:03d}.png" for t in range(3))
    assert found[0].masks == tuple(f"P1/c2/Mask/t{t:03d}.png" for t in range(3))
    assert (found[0].movie, found[0].folder, found[0].length, found[0].paged) == ("P1", "c2", 3, False)


def test_masks_of_other_names_are_matched_by_place(tmp_path, picture):
    for t in range(3):
        picture(f"m/c/Raw/raw_{t}.png")
        picture(f"m/c/Mask/{t + 5}.png")
    assert find(tmp_path)[0][0].masks == ("m/c/Mask/5.png", "m/c/Mask/6.png", "m/c/Mask/7.png")
    picture("m/c/Mask/8.png")
    with pytest.raises(UserError, match="mask for each of the 3 frames of m/c, found 4"):
        find(tmp_path)


def test_a_mask_may_be_missing(tmp_path, picture):
    for t in range(3):
        picture(f"m/c/Raw/{t}.png")
    picture("m/c/Mask/1.png")
    assert find(tmp_path)[0][0].masks == ("", "m/c/Mask/1.png", "")


def test_plain_folders(tmp_path, picture):
    for t in range(2):
        picture(f"m/a/{t}.png")
        picture(f"n/a/{t}.png")
    found, published = find(tmp_path)
    assert not published
    assert [(cell.name, cell.movie) for cell in found] == [("m/a", "m"), ("n/a", "n")]


def test_sisters_and_positions_are_read_from_folder_names(tmp_path, picture):
    for name in ("cell_P0037_T01_B01", "cell_P0037_T01_B02", "cell_P0038_T02_B01"):
        for t in range(2):
            picture(f"{name}/Raw/{t}.png")
    a, b, c = find(tmp_path)[0]
    assert (a.movie, b.movie, c.movie) == ("P0037", "P0037", "P0038")
    assert a.family == b.family != c.family


def test_sisters_are_the_movie_where_nothing_else_is(tmp_path, picture):
    for name in ("cell1_B01", "cell1_B02", "cell2_B01"):
        for t in range(2):
            picture(f"{name}/Raw/{t}.png")
    a, b, c = (cell.movie for cell in find(tmp_path)[0])
    assert a == b != c


def test_a_cell_in_one_tiff(tmp_path):
    (tmp_path / "m" / "c" / "Raw").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "m" / "c" / "Raw" / "all.tif", np.zeros((7, 9, 9), np.uint8))
    found = find(tmp_path)[0][0]
    assert (found.length, found.paged, found.files) == (7, True, ("m/c/Raw/all.tif",))


def test_one_frame_missing_frames_or_none_at_all_are_told(tmp_path, picture):
    with pytest.raises(UserError, match="folder of frames for each cell"):
        find(tmp_path)
    picture("m/c/0.png")
    with pytest.raises(UserError, match=r"several frames in m/c, found one \(m/c/0.png\)"):
        find(tmp_path)
    picture("m/c/1.png")
    picture("m/c/4.png")
    with pytest.raises(UserError, match=r"found none between m/c/1.png and m/c/4.png"):
        find(tmp_path)

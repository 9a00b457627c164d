import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from cellml.explain import outlines, panels
from tests.explain.helpers import clipped, overlapping, rendered, texts

GREEN, RED = (np.rint(255 * np.array(color)).astype(np.uint8) for color in (panels.FOR, panels.AGAINST))


def checks(size=40, across=4):
    """Square superpixels, numbered row by row."""
    cells = np.arange(size) * across // size
    return cells[:, None] * across + cells


def spread(labels, parts):
    return np.asarray(parts, dtype=np.float32)[labels] / np.bincount(labels.ravel())[labels].astype(np.float32)


def is_color(picture, color):
    return (picture == color).all(axis=-1)


def test_the_largest_contributions_of_each_sign_are_chosen():
    parts = np.zeros(16)
    parts[[3, 5, 7, 9, 11]] = [1.0, -0.9, 0.8, -0.1, 0.5]
    speaking_for, against = outlines.regions(spread(checks(), parts), checks(), most=2)
    assert speaking_for.tolist() == [3, 7]
    assert against.tolist() == [5]


def test_contribution_is_the_sum_over_a_region_not_its_brightest_pixel():
    labels = np.zeros((10, 10), np.int64)
    labels[0, 0] = 1
    heat = np.full((10, 10), 0.1, np.float32)
    heat[0, 0] = 3.0
    assert outlines.regions(heat, labels)[0].tolist() == [0, 1]


def test_lines_run_inside_the_regions_and_nowhere_else():
    labels, parts = checks(), np.zeros(16)
    parts[[5, 10]] = [1.0, -1.0]
    image = np.full((40, 40, 3), 128, np.uint8)
    picture = outlines.outlined(image, spread(labels, parts), labels, side=40)
    for label, color in ((5, GREEN), (10, RED)):
        drawn = is_color(picture, color)
        border = find_boundaries(labels == label, mode="inner")
        assert drawn[border].all()
        assert (labels[drawn] == label).all()
        assert drawn.sum() == 10 * 10 - 6 * 6
    assert (picture[~is_color(picture, GREEN) & ~is_color(picture, RED)] == 128).all()


def test_enlarged_the_lines_stay_thin_and_in_place():
    labels, parts = checks(), np.zeros(16)
    parts[6] = 1.0
    picture = outlines.outlined(np.zeros((40, 40, 3), np.uint8), spread(labels, parts), labels, side=200)
    rows, columns = np.nonzero(is_color(picture, GREEN))
    assert picture.shape == (200, 200, 3)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (50, 99, 100, 149)
    assert is_color(picture, GREEN)[75].sum() == 4


def test_an_empty_map_outlines_nothing():
    image = np.full((30, 60, 3), 90, np.uint8)
    labels = np.zeros((30, 60), np.int64)
    picture = outlines.outlined(image, np.zeros((30, 60), np.float32), labels, side=120)
    assert picture.shape == (60, 120, 3)
    assert (picture == 90).all()


@pytest.mark.parametrize("n", [1, 5])
def test_a_sheet_shows_every_image_with_its_own_regions(n):
    labels = np.stack([checks()] * n)
    parts = [np.where(np.arange(16) == 5, -1.0 if k % 2 else 1.0, 0) for k in range(n)]
    maps = np.stack([spread(checks(), p) for p in parts])
    images = [np.full((40, 40, 3), 200, np.uint8)] * n
    captions = [f"image {k} " + "W" * 80 for k in range(n)]
    figure = outlines.sheet(images, maps, labels, captions, title="lime " * 60, explained="$G_2$" * 30)
    pixels = rendered(figure)
    assert pixels.shape[1] == 900
    for k in range(n):
        left, top = 14 + 220 * (k % 4), 62 + 234 * (k // 4)
        part = pixels[top : top + 212, left : left + 212]
        assert is_color(part, RED if k % 2 else GREEN).sum() > 200
        assert not is_color(part, GREEN if k % 2 else RED).any()
    assert sum(text.startswith("image") for text in texts(figure)) == n
    assert not clipped(figure)
    assert not overlapping(figure)


def test_lengths_must_agree():
    image, heat, labels = np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 4), np.int64)
    with pytest.raises(ValueError, match="got 1 images"):
        outlines.sheet([image], heat, labels, [], title="", explained="a")

import numpy as np
import pytest
import torch
from skimage.measure import label

from cellml.errors import UserError
from cellml.explain.superpixels import segment
from tests.explain.helpers import noise

KINDS = ["slic", "quickshift"]


def quadrants(side, channels=1):
    """Four flat squares, told apart by one channel or the other."""
    image = torch.zeros(1, channels, side, side)
    image[:, 0, : side // 2] = 200
    image[:, -1, :, : side // 2] += 100
    return image


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_labels_are_numbered_without_gaps_and_as_many_as_wanted(kind, channels):
    images = torch.cat([noise(1, 60, channels, width=80), quadrants(80, channels)[:, :, :60]])
    labels = segment(images, 40, kind)
    assert labels.shape == (2, 60, 80)
    assert labels.dtype == np.int64
    for one in labels:
        numbers = np.unique(one)
        np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
    assert 20 <= labels[0].max() + 1 <= 80
    np.testing.assert_array_equal(labels, segment(images, 40, kind))
    np.testing.assert_array_equal(labels[1:], segment(images[1:], 40, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_superpixels_do_not_cross_an_edge(kind, channels):
    image = quadrants(48, channels)
    truth = np.add.outer(2 * (np.arange(48) >= 24), 1 * (np.arange(48) >= 24))
    labels = segment(image, 16, kind)[0]
    purity = sum(np.bincount(truth[labels == k]).max() for k in range(labels.max() + 1)) / truth.size
    assert purity > 0.93
    by_grid = np.add.outer(9 * (np.arange(48) // 17), np.arange(48) // 17)
    assert sum(np.bincount(truth[by_grid == k]).max() for k in np.unique(by_grid)) / truth.size < 0.85


def test_slic_makes_connected_pieces_of_about_one_size():
    labels = segment(noise(1, 64), 50)[0]
    sizes = np.bincount(labels.ravel())
    assert sizes.max() < 4 * np.median(sizes)
    assert all(label(labels == k, connectivity=1).max() == 1 for k in range(len(sizes)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_unit_of_the_values_does_not_matter(kind):
    images = noise(1, 40)
    np.testing.assert_array_equal(segment(images, 20, kind), segment(images * 256 + 512, 20, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [1, 4, 30])
def test_flat_and_tiny_images_are_cut_as_well(kind, side):
    labels = segment(torch.full((1, 3, side, side), 7.0), 10, kind)
    assert labels.shape == (1, side, side)
    assert labels.min() == 0


def test_user_errors():
    with pytest.raises(UserError, match="'slic' or 'quickshift', got 'felzenszwalb'"):
        segment(noise(), kind="felzenszwalb")
    with pytest.raises(UserError, match="at least 1 superpixel, got 0"):
        segment(noise(), 0)

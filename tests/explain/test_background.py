import numpy as np
import pytest
import torch
from skimage.draw import disk
from skimage.filters import gaussian

from cellml.data.images import list_images, read_image
from cellml.explain import background, baselines
from tests.explain.helpers import spec


def cells(n=6, size=48, cell=180.0, ground=30.0, channels=3, spread=6.0):
    """Discs of one brightness on a ground of another, with noise: (n, channels, size, size), and where they are."""
    rng = np.random.default_rng(0)
    masks = np.zeros((n, size, size), dtype=bool)
    for mask in masks:
        mask[disk(rng.integers(16, size - 16, 2), rng.integers(9, 15), shape=mask.shape)] = True
    pixels = np.where(masks, cell, ground)[:, None] + rng.normal(0, spread, (n, channels, size, size))
    return torch.tensor(pixels.clip(0, 255), dtype=torch.float32), masks


@pytest.mark.parametrize(("cell", "ground"), [(180, 30), (60, 220)])
@pytest.mark.parametrize("channels", [1, 3])
def test_bright_and_dark_cells_stand_out(cell, ground, channels):
    images, masks = cells(cell=cell, ground=ground, channels=channels)
    found = background.empty(images, spec(channels=channels, size=48))
    assert (found == ~masks).mean() > 0.995


def test_sixteen_bits_and_the_range_of_each_channel_count():
    images, masks = cells(channels=2)
    uneven = 6000 * torch.rand(len(images), 48, 48, generator=torch.Generator().manual_seed(0))
    deep = torch.stack([uneven, images[:, 1] * 4 + 900], dim=1)
    found = background.empty(deep, spec(channels=2, size=48, dtype="uint16", low=(0, 900), high=(60000, 2000)))
    assert (found == ~masks).mean() > 0.99


def test_a_given_mask_decides_image_by_image():
    images, masks = cells(4)
    given = np.zeros_like(masks)
    given[1, :10, :10] = True
    found = background.empty(images, spec(size=48), given)
    np.testing.assert_array_equal(found[1], ~given[1])
    np.testing.assert_array_equal(found[[0, 2, 3]], background.empty(images, spec(size=48))[[0, 2, 3]])


def test_tissue_without_a_gap_has_no_empty_background():
    rng = np.random.default_rng(0)
    smooth = gaussian(rng.normal(size=(3, 64, 64)), sigma=(0, 3, 3))
    tissue = torch.tensor(128 + 40 * smooth / smooth.std(), dtype=torch.float32).clamp(0, 255)
    flat = torch.full((1, 64, 64), 90.0)
    images = torch.cat([tissue, flat])[:, None]
    assert not background.empty(images, spec(channels=1)).any()


def test_separability_of_an_even_histogram_is_the_limit():
    ramp = torch.arange(4096.0).reshape(1, 1, 64, 64) / 4095 * 255
    assert not background.empty(ramp, spec(channels=1)).any()
    parted = ramp + 60 * (ramp > 127)
    assert background.empty(parted, spec(channels=1, high=(315.0,))).any()


def read(folder, count):
    """(count, C, H, W) of a folder's images, evenly chosen."""
    files = list_images(folder)
    chosen = [read_image(path) for path in files[:: len(files) // count][:count]]
    return torch.from_numpy(np.stack(chosen).astype(np.float32)).permute(0, 3, 1, 2)


def test_real_cells_on_an_empty_ground_and_tissue_that_fills_the_frame(real_data):
    cells = read(real_data / "jurkat" / "images", 60)
    low, high = cells.amin((0, 2, 3)).tolist(), cells.amax((0, 2, 3)).tolist()
    found = background.empty(cells, spec(size=40, dtype="uint16", low=tuple(low), high=tuple(high)))
    assert found.any(axis=(1, 2)).mean() > 0.9
    frame = np.ones((40, 40), dtype=bool)
    frame[4:-4, 4:-4] = False
    assert found[:, frame].mean() > 0.9
    assert found[:, 17:23, 17:23].mean() < 0.1
    tissue = read(real_data / "ami-br" / "images", 60)
    assert background.empty(tissue, spec(size=128)).any(axis=(1, 2)).mean() < 0.15


def test_share_counts_both_signs():
    maps = np.array([[[1.0, -3.0], [2.0, -2.0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]], np.float32)
    regions = np.array([[[0, 1], [0, 1]], [[1, 0], [0, 0]], [[0, 0], [0, 0]]], dtype=bool)
    np.testing.assert_allclose(background.share(maps, regions), [5 / 8, np.nan, np.nan])


def test_a_random_map_has_the_area_as_its_share():
    images, _ = cells(20)
    maps = baselines.random(np.zeros(20), (48, 48)).maps
    regions = background.empty(images, spec(size=48))
    np.testing.assert_allclose(background.share(maps, regions), regions.mean(axis=(1, 2)), atol=0.03)


def test_warns_above_the_area_in_one_line():
    line = background.warning("gradcam", [0.7, 0.8, np.nan], [0.6, 0.6, 0.0])
    assert line.startswith(
        "gradcam: 75% of the relevance lies on empty background, which is 60% of the area (2 images)"
    )
    assert "\n" not in line
    assert background.warning("gradcam", [0.5, 0.65, np.nan], [0.6, 0.6, 0.0]) is None
    assert background.warning("gradcam", [np.nan], [0.0]) is None
    assert "(1 image)" in background.warning("x", [0.2], [0.1])

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from cellml.data import plates, stem_cells

COUNT = 24


def alike(count=COUNT, **changed):
    wells = pd.DataFrame({"plate": ["p"] * count, "edge": [False] * count})
    look = plates.looks(wells, 0, np.random.default_rng(0))
    for name, value in changed.items():
        look[name] = value
    return look


def render(look=None, mean=22.0, size=64, difficulty=0.0, broken=0.4):
    look = alike() if look is None else look
    means, parts = np.full(len(look), mean), np.full(len(look), broken)
    return stem_cells.render(means, parts, look, size=size, difficulty=difficulty, rng=np.random.default_rng(5))


@pytest.fixture(scope="module")
def fields():
    return render()


def test_images_have_the_mean_that_was_asked_for(fields):
    np.testing.assert_allclose(fields.recorded, 22, rtol=1e-5)
    seen = fields.images[..., 0].mean(axis=(1, 2))
    np.testing.assert_allclose(seen, 22, rtol=0.08)
    assert abs(seen.mean() / 22 - 1) < 0.02
    assert (fields.images == 255).mean() < 0.005


def test_a_nucleus_lies_in_the_middle_of_a_cell_and_mitochondria_around_it(fields):
    y, x = np.mgrid[:64, :64] - 31.5
    for image, cell, mask in zip(fields.images.astype(float), fields.cells, fields.mitochondria, strict=True):
        middle = np.hypot(x, y) < 5
        assert cell[middle].mean() > 0.9
        assert image[middle, 1].mean() > 3 * image[~cell][:, 1].mean()
        assert image[mask][:, 0].mean() > 3 * image[~mask][:, 0].mean()
        assert image[cell][:, 2].mean() > 2 * image[~cell][:, 2].mean()
        assert mask[~ndimage.binary_dilation(cell, iterations=2)].mean() < 0.02
        assert 0.03 < mask.mean() < 0.35


def test_every_cell_that_has_mitochondria_is_drawn(fields):
    """Neighbours have all three stains: no network lies far from any cell."""
    far = ~ndimage.binary_dilation(fields.cells, structure=np.ones((1, 3, 3)), iterations=3)
    assert fields.images[..., 0][far].mean() < 2 * stem_cells.BACKGROUND[0]


def test_gain_and_background_act_on_what_is_recorded():
    assert np.allclose(render(alike(gain=1.5)).recorded, 33, rtol=1e-4)
    assert np.allclose(render(alike(background=2)).recorded, 22 + stem_cells.BACKGROUND[0], rtol=1e-4)


def test_a_gradient_brightens_one_side_and_defocus_blurs(fields):
    tilted = render(alike(slope=0.5, direction=0.0)).images.astype(float)
    sides = tilted[..., 32:, :].mean() / tilted[..., :32, :].mean()
    assert sides > 1.3 * fields.images[:, :, 32:].mean() / fields.images[:, :, :32].mean()
    fine = [
        np.subtract(*(ndimage.gaussian_filter(images[..., 0].astype(float), (0, s, s)) for s in (0.7, 1.5))).std()
        for images in (fields.images, render(alike(defocus=1.0)).images)
    ]
    assert fine[1] < 0.75 * fine[0]


def test_difficulty_adds_noise():
    noise = [
        render(difficulty=d).images[..., 0].astype(float) - render(difficulty=0).images[..., 0] for d in (0.0, 1.0)
    ]
    assert not noise[0].any()
    assert noise[1].std() > 3


@pytest.mark.parametrize("size", [24, 49, 96])
def test_any_size(size):
    fields = render(alike(3), size=size)
    assert fields.images.shape == (3, size, size, 3)
    assert fields.images.dtype == np.uint8
    assert fields.mitochondria.shape == fields.cells.shape == (3, size, size)
    np.testing.assert_allclose(fields.recorded, 22, rtol=1e-5)

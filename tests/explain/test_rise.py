import itertools

import numpy as np
import pytest
import torch
from skimage.transform import resize

from cellml.errors import UserError
from cellml.explain import rise
from cellml.explain.base import explain, scores
from cellml.explain.references import reference
from tests.explain.helpers import Pooled, noise, wrapped


def every_mask(grid, side, keep):
    """All grids at all shifts, enlarged by scikit-image, with the probability of each."""
    cell = -(-side // grid)
    masks, chances = [], []
    for bits in itertools.product([0.0, 1.0], repeat=grid * grid):
        large = resize(
            np.reshape(bits, (grid, grid)), ((grid + 1) * cell,) * 2, order=1, mode="edge", anti_aliasing=False
        )
        chance = keep ** sum(bits) * (1 - keep) ** (grid * grid - sum(bits)) / cell**2
        for top, left in itertools.product(range(cell), repeat=2):
            masks.append(large[top : top + side, left : left + side])
            chances.append(chance)
    return np.array(masks), np.array(chances)


@pytest.mark.parametrize(("side", "keep"), [(6, 0.5), (5, 0.3)])
def test_agrees_with_the_expectation_over_every_mask(side, keep):
    classifier = wrapped(Pooled("NCHW", stride=1), size=side).eval()
    images, classes = noise(2, side) / 255, torch.tensor([0, 2])
    masks, chances = every_mask(2, side, keep)
    assert chances.sum() == pytest.approx(1)
    blank = reference(images, "blur")
    got = explain("rise", classifier, images, classes, grid=2, keep=keep, samples=6000, batch_size=1000).maps
    for image, hidden, wanted, found in zip(images, blank, classes, got, strict=True):
        shown = torch.tensor(masks, dtype=torch.float32)[:, None]
        with torch.no_grad():
            f = scores(classifier, hidden + shown * (image - hidden), wanted.expand(len(masks)), "log_odds").numpy()
        mean = (chances * f).sum()
        cover = np.einsum("s,shw->hw", chances, masks)
        expected = np.einsum("s,shw->hw", chances * (f - mean), masks) / cover
        error = (np.einsum("s,shw->hw", chances, ((f - mean)[:, None, None] * (masks / cover - 1)) ** 2) / 6000) ** 0.5
        assert (np.abs(found - expected) < 5 * error + 1e-5).all()
        assert np.abs(expected).max() > 5 * error.max()


@pytest.mark.parametrize(("grid", "size"), [(7, (96, 96)), (7, (20, 33)), (3, (10, 4)), (1, (5, 5)), (9, (4, 4))])
def test_masks_show_the_share_asked_for_and_are_those_of_scikit_image(grid, size):
    cells, shifts = rise._drawn(300, grid, 0.4, size, seed=3)
    masks = torch.cat(list(rise._masks(cells, shifts, size, 64))).numpy()
    assert masks.shape == (300, *size)
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-6
    assert abs(masks.mean() - 0.4) < 5 * 0.5 / 300**0.5 / grid + 0.01
    enlarged = [(grid + 1) * -(-side // grid) for side in size]
    for cell, (top, left), mask in zip(cells.numpy()[:5], shifts.tolist(), masks, strict=False):
        large = resize(cell, enlarged, order=1, mode="edge", anti_aliasing=False)
        np.testing.assert_allclose(mask, large[top : top + size[0], left : left + size[1]], atol=1e-5)


def test_the_masks_come_in_batches_and_once_for_all_images():
    classifier = wrapped(Pooled("NCHW"))
    sizes = []
    classifier.net.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    explain("rise", classifier, noise(3, 16) / 255, [0, 1, 2], samples=50, batch_size=20)
    assert sizes == [20] * 3 + [20] * 3 + [10] * 3


@pytest.mark.parametrize("keep", [0, 1, 1.5])
def test_a_probability_lies_between(keep):
    with pytest.raises(UserError, match=f"'keep' between 0 and 1, got {keep}"):
        explain("rise", wrapped(Pooled("NCHW")), noise(1, 16), [0], keep=keep)

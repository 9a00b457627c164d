import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import polygon

from cellml.data import mitochondria
from cellml.data.mitochondria import Outlines


def outlines(count, radius=60.0, seed=0):
    rng = np.random.default_rng(seed)
    flat = np.ones(count, dtype=np.float32)
    waves = np.stack([rng.normal(0, 0.05, (count, 4)), rng.uniform(0, 6, (count, 4))]).astype(np.float32)
    return Outlines(100 * flat, 100 * flat, 0.5 * flat, radius * flat, 0.4 * radius * flat, 1.5 * flat, waves)


def test_an_outline_without_waves_is_an_ellipse():
    cell = outlines(1)
    cell.waves[0] = 0
    direction = np.linspace(0, 2 * np.pi, 50, dtype=np.float32)[None]
    reach = cell.reach(direction)
    u, v = reach * np.cos(direction - 0.5), reach * np.sin(direction - 0.5)
    np.testing.assert_allclose((u / (60 * np.sqrt(1.5))) ** 2 + (v / (60 / np.sqrt(1.5))) ** 2, 1, rtol=1e-5)


@pytest.mark.parametrize("broken", [0.0, 0.5, 1.0])
def test_mitochondria_lie_in_the_cytoplasm(broken):
    cells = outlines(6)
    x, y, mass = mitochondria.draw(cells, np.full(6, broken), np.random.default_rng(1))
    assert x.shape == y.shape == mass.shape == (6, mitochondria.FILAMENTS * mitochondria.POINTS)
    np.testing.assert_allclose(mass.sum(axis=1), 1, atol=0.35)
    turn = np.linspace(0, 2 * np.pi, 400, dtype=np.float32)[None].repeat(6, axis=0)
    reach = cells.reach(turn)
    for n in range(6):
        inside = np.zeros((220, 220), dtype=bool)
        inside[polygon(100 + reach[n] * np.sin(turn[n]), 100 + reach[n] * np.cos(turn[n]), inside.shape)] = True
        held = inside[np.rint(y[n]).astype(int), np.rint(x[n]).astype(int)]
        assert held.mean() > 0.99
        assert (np.hypot(x[n] - 100, y[n] - 100) > 0.4 * 60 * 0.9).mean() > 0.95


def test_fragmentation_turns_filaments_into_dots():
    cells = outlines(4, radius=90.0)
    image = np.arange(4)
    connected = []
    for broken in (0.0, 0.5, 1.0):
        drawn = mitochondria.draw(cells, np.full(4, broken), np.random.default_rng(2))
        density = ndimage.gaussian_filter(mitochondria.splat(*drawn, image, 4, 200), (0, 1.5, 1.5))
        marks = density > 0.4 * np.percentile(density, 98)
        sizes = np.concatenate([np.bincount(ndimage.label(mark)[0].ravel())[1:] for mark in marks])
        connected.append((sizes**2).sum() / sizes.sum())  # size of the part that a pixel is in
    assert connected[0] > 2 * connected[1] > 4 * connected[2]


def test_a_point_is_shared_by_four_pixels_and_nothing_wraps_around():
    x, y, mass = (np.array([[value, -5.0]], dtype=np.float32) for value in (2.25, 3.5, 8.0))
    image = mitochondria.splat(x, y, mass, np.array([1]), 2, 6)
    expected = np.zeros((2, 6, 6))
    expected[1, 3:5, 2:4] = [[3, 1], [3, 1]]
    np.testing.assert_allclose(image, expected)

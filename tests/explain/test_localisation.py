import numpy as np
import pytest

from cellml.explain import localisation


def example(n=40, size=(17, 23), seed=0):
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, *size), dtype=bool)
    for mask in masks:
        top, left = rng.integers(0, 12, 2)
        mask[top : top + 4, left : left + 6] = True
    return rng.normal(size=(n, *size)).astype(np.float32), masks


@pytest.mark.parametrize("tolerance", [0, 1, 2.5, 4, 100])
def test_pointing_is_that_of_brute_force(tolerance):
    maps, masks = example()
    wanted = []
    for heat, mask in zip(maps, masks, strict=True):
        row, column = divmod(int(heat.argmax()), heat.shape[1])
        distance = min(np.hypot(r - row, c - column) for r, c in zip(*np.nonzero(mask), strict=True))
        wanted.append(float(distance <= tolerance))
    np.testing.assert_array_equal(localisation.pointing(maps, masks, tolerance=tolerance), wanted)
    assert tolerance in (0, 100) or 0 < np.mean(wanted) < 1


def test_default_tolerance_is_in_proportion_to_the_shorter_side():
    for size, reach in (((96, 96), 6), ((224, 300), 15), ((40, 40), 2), ((12, 12), 0)):
        maps = np.zeros((2, *size), np.float32)
        masks = np.zeros((2, *size), dtype=bool)
        masks[:, :, 0] = True
        maps[0, 3, reach] = maps[1, 3, reach + 1] = 1
        assert localisation.pointing(maps, masks).tolist() == [1, 0]


def test_a_constant_map_points_anywhere():
    mask = np.zeros((1, 20, 20), dtype=bool)
    mask[:, :, :5] = True
    flat = np.ones((1, 20, 20), np.float32)
    hits = [localisation.pointing(flat, mask, tolerance=0, seed=seed)[0] for seed in range(300)]
    assert abs(np.mean(hits) - 0.25) < 0.08


def test_mass_is_that_of_brute_force():
    maps, masks = example()
    wanted = [
        sum(v for v, m in zip(heat.ravel(), mask.ravel(), strict=True) if m and v > 0) / heat[heat > 0].sum()
        for heat, mask in zip(maps, masks, strict=True)
    ]
    np.testing.assert_allclose(localisation.mass(maps, masks), wanted, rtol=1e-5)


def test_perfect_and_opposite_maps():
    _, masks = example()
    perfect = np.where(masks, 1.0, -1.0).astype(np.float32)
    assert (localisation.mass(perfect, masks) == 1).all()
    assert (localisation.mass(-perfect, masks) == 0).all()
    assert (localisation.pointing(perfect, masks) == 1).all()
    assert (localisation.pointing(-perfect, masks, tolerance=0) == 0).all()


def test_nothing_is_said_without_a_mask_or_positive_relevance():
    maps, masks = example(3)
    masks[1] = False
    maps[2] = -1
    assert np.isnan(localisation.mass(maps, masks)).tolist() == [False, True, True]
    assert np.isnan(localisation.pointing(maps, masks)).tolist() == [False, True, False]

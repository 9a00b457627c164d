import numpy as np

from cellml.explain import baselines


def test_noise_is_uniform_and_another_for_each_image():
    found = baselines.random([0, 2, 1], (40, 50), seed=3)
    assert found.maps.shape == (3, 40, 50)
    assert found.maps.dtype == np.float32
    assert found.classes.tolist() == [0, 2, 1]
    assert abs(found.maps.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(found.maps.reshape(3, -1))[np.triu_indices(3, 1)]).max() < 0.1
    np.testing.assert_array_equal(found.maps, baselines.random([0, 2, 1], (40, 50), seed=3).maps)
    assert (found.maps != baselines.random([0, 2, 1], (40, 50), seed=4).maps).any()


def test_centre_peaks_in_the_middle_and_falls_as_a_gaussian():
    found = baselines.centre([1, 0], (21, 41))
    assert found.maps.shape == (2, 21, 41)
    peak = np.unravel_index(found.maps[1].argmax(), (21, 41))
    assert peak == (10, 20)
    np.testing.assert_allclose(found.maps[0, 10, 20], 1)
    np.testing.assert_allclose(found.maps[0, 10, 30], np.exp(-0.5 * (10 / (41 / 4)) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found.maps[0, 5, 20], np.exp(-0.5 * (5 / (21 / 4)) ** 2), rtol=1e-5)


def test_names_are_those_of_the_maps():
    assert (baselines.random([0], (4, 4)).method, baselines.centre([0], (4, 4)).method) == baselines.NAMES

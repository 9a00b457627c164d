import numpy as np
import pytest

from cellml.explain import means
from tests.explain.helpers import clipped, overlapping, rendered, texts


def drawn(images, maps, explained, predicted, classes=("a", "b", "c"), title="gradcam"):
    return means.sheet(images, np.asarray(maps, np.float32), explained, predicted, classes, title=title)


def shades(*values):
    return [np.full((20, 20, 3), value, np.uint8) for value in values]


def test_every_image_counts_alike_whatever_the_size_of_its_map():
    rng = np.random.default_rng(0)
    heat = np.sign(rng.normal(size=(2, 8, 8))).astype(np.float32)
    expected = heat.mean(axis=0)
    np.testing.assert_allclose(means.mean_map(heat * np.array([1.0, 1e4], np.float32)[:, None, None]), expected)


def test_means_of_the_images_predicted_so():
    maps = np.ones((5, 20, 20))
    maps[2:] = -1
    figure = drawn(shades(10, 30, 100, 140, 250), maps, [0, 0, 1, 1, 1], [0, 0, 1, 1, 0])
    pixels = rendered(figure)
    first, second = (pixels[62 + 50, 14 + 220 * k + 50] for k in (0, 1))
    assert first.tolist() == [20, 20, 20]
    assert second.tolist() == [120, 120, 120]  # the last image was said to be another class than its map explains
    red, green = pixels[62 + 50, 14 + 50 + 106, :2], pixels[62 + 50, 14 + 220 + 50 + 106, :2]
    assert red[1] > red[0] + 60
    assert green[0] > green[1] + 60
    said = texts(figure)
    assert said.count("n = 2 predicted so") == 2
    assert "none predicted so" in said


def test_all_classes_share_one_scale():
    maps = np.ones((4, 20, 20))
    maps[3] = -1
    maps[3, 0, 0] = -0.5
    pixels = rendered(drawn(shades(128, 128, 128, 128), maps, [0, 0, 1, 1], [0, 0, 1, 1]))
    strong, weak = (pixels[62 + 50, 14 + 220 * k + 156] for k in (0, 1))
    assert strong[1] - strong[0] > 100
    assert abs(weak[1] - weak[0]) < 5


@pytest.mark.parametrize("k", [1, 4, 5, 9])
def test_many_classes_with_long_names_fit(k):
    names = [f"class {j} $x$ " + "W" * 40 for j in range(k)]
    figure = drawn(shades(*[9] * k), np.ones((k, 20, 20)), np.arange(k), np.arange(k), names, "m" * 300)
    assert rendered(figure).shape == (62 + 148 * -(-k // 4) + 58, 900, 3)
    assert not clipped(figure)
    assert not overlapping(figure)


def test_lengths_and_sizes_must_agree():
    with pytest.raises(ValueError, match="got 2 images"):
        drawn(shades(1, 2), np.ones((2, 4, 4)), [0], [0, 0])
    with pytest.raises(ValueError, match="one size"):
        drawn([*shades(1), np.zeros((9, 20, 3), np.uint8)], np.ones((2, 4, 4)), [0, 0], [0, 0])

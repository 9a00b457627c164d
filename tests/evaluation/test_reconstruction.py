import numpy as np
import pytest

from cellml.evaluation import reconstruction
from tests.evaluation.test_figures import rendered, texts


def pair(channels, dtype=np.uint8):
    rng = np.random.default_rng(0)
    images = rng.integers(20, 200, (3, 16, 16, channels)).astype(dtype)
    made = images.copy()
    made[..., 0] += 10
    return images, made


def test_differences_are_signed_and_by_channel():
    images, made = pair(3)
    figure = reconstruction.sheet(images, made, ["a", "b", ""], title="There and back")
    shown = [ax.images[0].get_array() for ax in figure.axes]
    assert len(shown) == 3 * 5
    assert (shown[2] == 10).all()
    assert not shown[3].any()
    assert {"image", "made of it", "channel 0\n± 10", "There and back", "a", "b"} <= set(texts(figure))
    assert rendered(figure).width == 704


def test_an_image_and_what_was_made_of_it_have_one_scale():
    images = np.zeros((1, 16, 16, 1), np.uint16)
    images[0, :8] = 4000
    figure = reconstruction.sheet(images, images // 2, ["a"], title="")
    left, right = (ax.images[0].get_array() for ax in figure.axes[:2])
    assert left.max() == 255
    assert right.max() == 128


def test_many_channels_share_one_difference():
    images, made = pair(9)
    figure = reconstruction.sheet(images, made, ["a"] * 3, title="")
    assert len(figure.axes) == 3 * 3
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), 10 / 3)


def test_what_does_not_fit_is_refused():
    images, made = pair(3)
    with pytest.raises(ValueError, match="one length"):
        reconstruction.sheet(images, made[:2], ["a"] * 3, title="")
    with pytest.raises(ValueError, match="one length"):
        reconstruction.sheet(images[:0], made[:0], [], title="")

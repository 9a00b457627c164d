import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellml.data import display


def test_eight_bit_gray_and_rgb_keep_their_values():
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (5, 7, 1), dtype=np.uint8)
    assert (display.to_rgb(gray) == gray).all()
    assert (display.to_rgb(gray[:, :, 0]) == gray).all()
    rgb = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    out = display.to_rgb(rgb)
    assert (out == rgb).all()
    assert not np.shares_memory(out, rgb)


def test_two_channels_become_magenta_and_green():
    image = np.zeros((2, 2, 2), dtype=np.uint8)
    image[0, 0, 0] = 200
    image[1, 1, 1] = 90
    out = display.to_rgb(image)
    assert out[0, 0].tolist() == [200, 0, 200]
    assert out[1, 1].tolist() == [0, 90, 0]
    assert out[0, 1].tolist() == [0, 0, 0]


def test_sixteen_bit_is_stretched_between_the_percentiles_of_each_channel():
    image = np.random.default_rng(1).integers(300, 5000, (40, 50, 3)).astype(np.uint16)
    image[:, :, 1] *= 10
    low, high = np.percentile(image, display.PERCENTILES, axis=(0, 1))
    expected = np.round(np.clip((image - low) / (high - low), 0, 1) * 255)
    assert np.abs(display.to_rgb(image) - expected).max() <= 1


def test_given_bounds_are_shared_by_all_images():
    image = np.array([[[1000], [2000], [3000], [9000]]], dtype=np.uint16)
    assert display.to_rgb(image, 1000, 3000)[0, :, 0].tolist() == [0, 128, 255, 255]
    assert display.to_rgb(image, [1000], [3000])[0, :, 2].tolist() == [0, 128, 255, 255]
    assert display.to_rgb(np.full((2, 2, 3), 50, np.uint8), 0, 100)[0, 0].tolist() == [128, 128, 128]


def test_each_of_many_channels_has_its_own_colour():
    image = np.zeros((6, 6, 6), dtype=np.uint16)
    for channel in range(6):
        image[channel, :, channel] = 4000
    colours = {tuple(row) for row in display.to_rgb(image, 0, 4000)[:, 0].tolist()}
    assert len(colours) == 6
    assert (0, 0, 0) not in colours


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 10)),
    )
)
def test_any_image_becomes_rgb(image):
    before = image.copy()
    out = display.to_rgb(image)
    assert out.shape == (*image.shape[:2], 3)
    assert out.dtype == np.uint8
    assert (image == before).all()


@pytest.mark.parametrize("shape", [(4,), (0, 4, 1), (4, 4, 0), (1, 4, 4, 3)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(H, W, C\)"):
        display.to_rgb(np.zeros(shape, dtype=np.uint8))

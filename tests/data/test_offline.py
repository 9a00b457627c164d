import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cellml.data import offline


def picture(dtype=np.uint8, channels=3, side=41, seed=0):
    """Smooth blobs away from the border, so that bilinear conventions hardly matter."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    image = np.zeros((side, side, channels))
    for channel in range(channels):
        for _ in range(4):
            cy, cx = rng.uniform(0.3 * side, 0.7 * side, 2)
            image[..., channel] += np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
    top = 230 if dtype == np.uint8 else 4000
    return np.rint(image / image.max() * top).astype(dtype)


def test_rotation_is_pillows():
    image = picture()
    theirs = Image.fromarray(image).rotate(20, Image.Resampling.BILINEAR, fillcolor=(255, 255, 255))
    inside = np.hypot(*(np.mgrid[:41, :41] - 20)) < 19
    ours = offline.rotate(image, 20)
    np.testing.assert_allclose(ours[inside].astype(float), np.asarray(theirs)[inside], atol=2)
    corners = ours[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all()


def test_white_of_16_bit_images_is_their_brightest_value():
    image = picture(np.uint16, 1)
    assert offline.rotate(image, 25)[0, 0, 0] == image.max() == 4000


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (offline.brightness, ImageEnhance.Brightness),
        (offline.contrast, ImageEnhance.Contrast),
        (offline.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_enhancements_are_pillows(ours, theirs, factor):
    noisy = np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)
    expected = np.asarray(theirs(Image.fromarray(noisy)).enhance(factor), dtype=float)
    np.testing.assert_allclose(ours(noisy[..., None], factor)[..., 0].astype(float), expected, atol=1.01)


def test_sharpness_keeps_channels_apart():
    image = picture()
    one = offline.sharpness(image[..., :1], 1.1)
    np.testing.assert_array_equal(offline.sharpness(image, 1.1)[..., :1], one)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("transform", [1, 2, 3, 4])
def test_each_change_is_what_its_number_says(transform, channels, dtype):
    image = picture(dtype, channels)
    before = image.copy()
    found = offline.change(image, transform, np.random.default_rng(3))
    np.testing.assert_array_equal(image, before)
    assert found.dtype == dtype
    assert found.shape == image.shape
    draw = np.random.default_rng(3)
    if transform in (1, 4):
        turned = offline.rotate(image, draw.uniform(15, 30) if transform == 1 else draw.uniform(5, 15))
        expected = turned if transform == 1 else offline.sharpness(turned, draw.uniform(0.9, 1.1))
    elif transform == 2:
        expected = np.flip(offline.brightness(image, draw.uniform(0.9, 1.1)), 1)
    else:
        expected = np.flip(offline.contrast(image, draw.uniform(0.9, 1.1)), 0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_do_not_wrap_around(dtype):
    top = np.iinfo(dtype).max
    image = np.full((5, 5, 1), top, dtype=dtype)
    image[2, 2] = 0
    for change in (offline.brightness, offline.contrast, offline.sharpness):
        found = change(image, 1.1)
        assert found[0, 0, 0] == top
        assert found[2, 2, 0] == 0


def test_a_batch_is_changed_item_by_item():
    images = np.stack([picture(seed=s) for s in range(6)])
    numbers = np.array([0, 1, 2, 3, 4, 1], dtype=np.int8)
    found = offline.transform(images, numbers, 7)
    np.testing.assert_array_equal(found[0], images[0])
    np.testing.assert_array_equal(found, offline.transform(images, numbers, 7))
    assert (found[5] != offline.transform(images, numbers, 8)[5]).any()
    part = offline.transform(images[3:], numbers[3:], 7, items=np.arange(3, 6))
    np.testing.assert_array_equal(part, found[3:])
    np.testing.assert_array_equal(images[1], picture(seed=1))


def test_unknown_numbers_are_refused():
    with pytest.raises(ValueError, match="from 1 to 4, got 5"):
        offline.change(picture(), 5, np.random.default_rng(0))

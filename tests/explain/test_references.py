import numpy as np
import pytest
import torch
from scipy import ndimage

from cellml.errors import UserError
from cellml.explain.references import reference
from tests.explain.helpers import noise


def test_the_blur_is_a_gaussian():
    impulse = torch.zeros(1, 1, 101, 101)
    impulse[0, 0, 50, 50] = 1
    blurred = reference(impulse, "blur", 0.05)[0, 0]
    offsets = np.arange(-50, 51)
    profile = np.exp(-0.5 * (offsets / 5.05) ** 2)
    wanted = np.outer(profile, profile) / profile.sum() ** 2
    np.testing.assert_allclose(blurred.numpy(), wanted, atol=2e-2 * wanted.max())


def test_the_blur_is_scipys_with_replicated_edges():
    images = noise(2, 20, channels=2, width=30)
    wanted = ndimage.gaussian_filter(images.numpy(), (0, 0, 0.1 * 20, 0.1 * 30), mode="nearest", truncate=3)
    np.testing.assert_allclose(reference(images, "blur", 0.1).numpy(), wanted, rtol=0.02)


def test_mean_is_by_image_and_channel():
    images = noise(2, 6, channels=4)
    got = reference(images, "mean").numpy()
    np.testing.assert_allclose(
        got, np.broadcast_to(images.numpy().mean(axis=(2, 3), keepdims=True), got.shape), rtol=1e-5
    )


def test_an_unknown_baseline_is_named():
    with pytest.raises(UserError, match="'blur' or 'mean', got 'black'"):
        reference(noise(), "black")

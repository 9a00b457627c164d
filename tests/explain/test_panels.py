import numpy as np
import pytest
import torch

from cellml.explain import panels
from tests.explain.helpers import spec


def test_green_speaks_for_and_red_against():
    heat = np.zeros((8, 8), np.float32)
    heat[:4] = 2.0
    heat[4:] = -2.0
    image = np.full((8, 8, 3), 128, np.uint8)
    laid = panels.overlay(image, heat).astype(int)
    assert (laid[:4, :, 1] > laid[:4, :, 0] + 40).all()
    assert (laid[4:, :, 0] > laid[4:, :, 1] + 40).all()


def test_no_evidence_stays_grey_and_shows_the_image():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)[..., None].repeat(3, axis=2) * 4
    laid = panels.overlay(image, np.zeros((8, 8), np.float32)).astype(int)
    assert (laid[..., 0] == laid[..., 1]).all()
    assert (laid[..., 1] == laid[..., 2]).all()
    assert (np.diff(laid[..., 0].ravel()) > 0).all()


def test_stronger_evidence_takes_more_colour_and_one_pixel_does_not_set_the_scale():
    heat = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
    heat[0, 0] = 1e6
    image = np.full((32, 32, 3), 128, np.uint8)
    laid = panels.overlay(image, heat).astype(int)
    colour = (laid[..., 1] - laid[..., 0]).ravel()[1:]
    assert (np.diff(colour) >= 0).all()
    assert colour[-1] > 80
    shared = panels.overlay(image, heat, scale=100.0).astype(int)
    assert (shared[..., 1] - shared[..., 0]).ravel()[-1] < colour[-1] / 2


def test_a_coarse_map_is_enlarged_in_place():
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3] = 1
    laid = panels.overlay(np.zeros((64, 64, 3), np.uint8), heat).astype(int)
    green = laid[..., 1] - laid[..., 0]
    assert np.unravel_index(green.argmax(), green.shape)[0] < 16
    assert np.unravel_index(green.argmax(), green.shape)[1] >= 48


@pytest.mark.parametrize("shape", [(20, 40), (40, 20), (7, 7), (1, 300)])
def test_tiles_keep_proportions(shape):
    tile = panels.tile(np.zeros((*shape, 3), np.uint8), 80)
    black = (tile == 0).all(axis=2)
    height, width = black.any(axis=1).sum(), black.any(axis=0).sum()
    assert tile.shape == (80, 80, 3)
    assert max(height, width) == 80
    assert min(height, width) == max(1, round(80 * min(shape) / max(shape)))


def test_shown_is_what_the_network_sees():
    prepared = torch.randint(0, 256, (3, 3, 9, 9)).float()
    pictures = panels.shown(prepared, spec(size=9))
    np.testing.assert_array_equal(np.stack(pictures), prepared.permute(0, 2, 3, 1).numpy().astype(np.uint8))


def test_shown_scales_sixteen_bits_by_the_models_range():
    prepared = torch.tensor([[[[1000.0, 3000.0], [2000.0, 65535.0]]]])
    [picture] = panels.shown(prepared, spec(channels=1, dtype="uint16", low=(1000.0,), high=(3000.0,), size=2))
    assert picture[..., 0].tolist() == [[0, 255], [128, 255]]

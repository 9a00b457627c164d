import numpy as np
import pytest
import torch
from PIL import Image

from cellml.data.geometry import fit


def _random(shape, dtype=torch.uint8, high=256):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int32).to(dtype)


class _Fit(torch.nn.Module):
    def __init__(self, crop):
        super().__init__()
        self.crop = crop

    def forward(self, images):
        return fit(images, self.crop, 32)


@pytest.mark.parametrize("size", [20, 47, 96])
def test_resizing_agrees_with_pillow(size):
    image = np.asarray(Image.effect_noise((70, 50), 60)).copy()
    ours = fit(torch.from_numpy(image)[None, :, :, None], None, size)[0, 0].numpy()
    theirs = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR), dtype=np.float32)
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize(("height", "width", "crop"), [(11, 14, 5), (10, 10, 6), (4, 9, 7), (3, 3, 8), (6, 5, 6)])
def test_crop_is_central_and_repeats_the_border(height, width, crop):
    images = _random((2, height, width, 3))
    padded = np.pad(images.numpy(), ((0, 0), (8, 8), (8, 8), (0, 0)), mode="edge")
    top, left = 8 + (height - crop) // 2, 8 + (width - crop) // 2
    expected = padded[:, top : top + crop, left : left + crop].transpose(0, 3, 1, 2)
    assert np.array_equal(fit(images, crop, crop).numpy(), expected)


@pytest.mark.parametrize(("dtype", "high"), [(torch.uint8, 256), (torch.uint16, 65536)])
def test_same_size_changes_nothing_and_values_are_whole(dtype, high):
    images = _random((3, 40, 40, 2), dtype, high)
    assert torch.equal(fit(images, None, 40), images.permute(0, 3, 1, 2).float())
    small = fit(images, 33, 17)
    assert small.dtype == torch.float32
    assert torch.equal(small, small.round())
    assert small.max() > high / 4


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("crop", [None, 30])
def test_an_image_comes_out_alike_alone_and_in_a_batch(channels, crop):
    images = _random((7, 41, 53, channels), torch.uint16, 65536)
    alone = torch.cat([fit(image[None], crop, 24) for image in images])
    assert torch.equal(fit(images, crop, 24), alone)


@pytest.mark.parametrize("crop", [None, 40])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_exports_with_any_batch_and_image_size(crop, dtype):
    auto = torch.export.Dim.AUTO
    module = _Fit(crop)
    program = torch.export.export(
        module, (_random((2, 48, 44, 3), dtype),), dynamic_shapes=({0: auto, 1: auto, 2: auto},)
    )
    for shape in [(1, 48, 48, 3), (4, 100, 90, 3), (3, 20, 61, 3), (2, 32, 32, 3)]:
        images = _random(shape, dtype)
        assert torch.equal(program.module()(images), module(images))

import pytest
import torch

from cellml.config import Augment
from cellml.data.augment import augment
from cellml.data.augment_frames import augment_frames

OFF = {"flip": False, "rotate": 0, "scale": 0, "shift": 0, "brightness": 0, "contrast": 0}
KINDS = [
    {"flip": True},
    {"rotate": 90, "scale": 0.2, "shift": 0.1},
    {"brightness": 0.3},
    {"contrast": 0.5},
    {"color": 0.5},
    {"stain": 0.3},
    {"erase": 1.0},
]


def seeded():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("kind", [*KINDS, {k: v for kind in KINDS for k, v in kind.items()}], ids=str)
def test_equal_frames_of_a_sequence_stay_equal_and_sequences_differ(kind):
    frames = torch.rand(1, 1, 3, 12, 12).repeat(6, 4, 1, 1, 1)
    found, _ = augment_frames(frames, None, Augment(**(OFF | kind)), 12, seeded())
    assert all(torch.allclose(found[:, 0], found[:, t], atol=1e-6) for t in range(4))
    assert not all(torch.allclose(found[0], one) for one in found)
    assert not torch.allclose(found, frames)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_sequence_of_one_frame_changes_as_an_image_does(kind):
    images, config = torch.rand(3, 3, 12, 12), Augment(**(OFF | kind))
    found, _ = augment_frames(images[:, None], None, config, 12, seeded())
    torch.testing.assert_close(found[:, 0], augment(images, config, 12, seeded()), rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing_of_the_frames():
    config = Augment(**{k: v for kind in KINDS for k, v in kind.items()})
    frames = torch.rand(2, 5, 3, 16, 16)
    other = frames.clone()
    other[:, 3:] = 9.0
    (one, _), (two, _) = (augment_frames(x, None, config, 12, seeded()) for x in (frames, other))
    torch.testing.assert_close(one[:, :3], two[:, :3])


def test_noise_is_drawn_for_every_frame():
    found, _ = augment_frames(torch.zeros(1, 2, 1, 8, 8), None, Augment(**OFF, noise=0.1), 8, seeded())
    assert not torch.allclose(found[:, 0], found[:, 1])


def test_masks_move_with_their_frames_and_keep_their_brightness():
    frames = (torch.rand(2, 3, 1, 20, 20) > 0.5).float()
    config = Augment(**(OFF | {"flip": True, "rotate": 180, "shift": 0.1}))
    found, masks = augment_frames(frames, frames[:, :, 0], config, 16, seeded())
    assert masks.shape == (2, 3, 16, 16)
    torch.testing.assert_close(found[:, :, 0], masks)
    _, masks = augment_frames(frames, frames[:, :, 0], Augment(**OFF, noise=0.2), 20, seeded())
    assert torch.equal(masks, frames[:, :, 0])

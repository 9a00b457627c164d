"""Augmentation against torch.rot90, torchvision's affine, closed forms and the distributions asked for."""

import numpy as np
import pytest
import torch
from scipy import stats
from skimage import color

from cellml.config import Augment
from cellml.data import augment
from cellml.vision import torchvision

OFF = Augment(flip=False, rotate=0, scale=0, shift=0, brightness=0, contrast=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=4, channels=3, side=20, seed=0):
    return torch.rand((count, channels, side, side), generator=generator(seed))


def draws(count, angle=0.0, scale=1.0, shift=(0.0, 0.0), flip=(False, False)):
    return augment.Draws(
        angle=torch.full((count,), angle),
        scale=torch.full((count,), scale),
        shift=torch.tensor([shift]).repeat(count, 1),
        flip=torch.tensor([flip]).repeat(count, 1),
    )


def changed(**fields):
    return OFF.model_copy(update=fields)


@pytest.mark.parametrize(("side", "size"), [(20, 20), (30, 20), (21, 15)])
def test_everything_off_returns_the_central_window_exactly(side, size):
    x = images(side=side)
    start = (side - size) // 2
    y = augment.augment(x, OFF, size, generator())
    assert torch.equal(y, x[..., start : start + size, start : start + size])


@pytest.mark.parametrize("side", [20, 28])
@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_quarter_turns_equal_rot90(side, quarter):
    x = images(side=side)
    start = (side - 20) // 2
    central = x[..., start : start + 20, start : start + 20]
    y = augment.warp(x, draws(4, angle=90.0 * quarter), 20)
    torch.testing.assert_close(y, torch.rot90(central, quarter, (2, 3)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("angle", [-37.0, 12.0, 160.0])
def test_free_rotation_equals_torchvision_inside(angle):
    x = torch.nn.functional.avg_pool2d(images(side=41), 5, 1, 2)
    ours = augment.warp(x, draws(4, angle=angle), 41)
    theirs = torchvision.transforms.functional.rotate(x, angle, torchvision.transforms.InterpolationMode.BILINEAR)
    torch.testing.assert_close(ours[..., 10:31, 10:31], theirs[..., 10:31, 10:31], atol=1e-4, rtol=0)


def test_flips_come_before_the_turn():
    x = images()
    for flip, dims in [((True, False), (3,)), ((False, True), (2,)), ((True, True), (2, 3))]:
        torch.testing.assert_close(augment.warp(x, draws(4, flip=flip), 20), x.flip(dims), atol=1e-5, rtol=0)
        turned = augment.warp(x, draws(4, angle=90.0, flip=flip), 20)
        torch.testing.assert_close(turned, torch.rot90(x.flip(dims), 1, (2, 3)), atol=1e-5, rtol=0)


def test_shift_moves_content_right_and_down():
    x = images()
    y = augment.warp(x, draws(4, shift=(0.25, 0.1)), 20)
    torch.testing.assert_close(y[..., 2:, 5:], x[..., :18, :15], atol=1e-5, rtol=0)


def test_the_margin_shows_where_a_shift_reaches_it_and_reflection_where_there_is_none():
    x = images(side=24)
    y = augment.warp(x, draws(4, shift=(0.1, 0.0)), 20)
    torch.testing.assert_close(y, x[..., 2:22, 0:20], atol=1e-5, rtol=0)
    central = x[..., 2:22, 2:22]
    y = augment.warp(central, draws(4, shift=(0.1, 0.0)), 20)
    torch.testing.assert_close(y[..., :2], central[..., :2].flip(3), atol=1e-5, rtol=0)


def test_scale_two_enlarges_like_interpolation():
    x = images()
    y = augment.warp(x, draws(4, scale=2.0), 20)
    twice = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(y, twice[..., 10:30, 10:30], atol=1e-5, rtol=0)


def test_flips_alone_are_exact_and_each_of_the_four_comes_equally_often():
    x = images(count=1, side=6).repeat(4000, 1, 1, 1)
    y = augment.augment(x, changed(flip=True), 6, generator())
    kinds = [x[0].flip(dims) for dims in ((), (2,), (1,), (1, 2))]
    seen = [int((y == kind).flatten(1).all(1).sum()) for kind in kinds]
    assert sum(seen) == 4000
    assert stats.chisquare(seen).pvalue > 1e-4


def test_draws_are_uniform_over_what_was_asked():
    config = changed(rotate=30.0, scale=0.2, shift=0.1, flip=True)
    d = augment.draw(config, 20_000, generator())
    for values, low, high in [
        (d.angle, -30, 30),
        (d.scale, 0.8, 1.2),
        (d.shift[:, 0], -0.1, 0.1),
        (d.shift[:, 1], -0.1, 0.1),
    ]:
        assert stats.kstest(values.numpy(), stats.uniform(low, high - low).cdf).pvalue > 1e-4
    assert d.flip.float().mean(0).sub(0.5).abs().max() < 0.02
    together = np.corrcoef(np.stack([d.angle, d.scale, d.shift[:, 0], d.shift[:, 1], *d.flip.float().T]))
    assert np.abs(together - np.eye(6)).max() < 0.04


def test_brightness_contrast_and_colour_are_drawn_per_image():
    x = images(count=3000, side=4)
    mean = x.mean((2, 3), keepdim=True)
    added = augment.intensity(x, changed(brightness=0.2), generator()) - x
    assert added.flatten(1).std(1).max() < 1e-6
    assert stats.kstest(added[:, 0, 0, 0].numpy(), stats.uniform(-0.2, 0.4).cdf).pvalue > 1e-4
    y = augment.intensity(x, changed(contrast=0.3), generator())
    torch.testing.assert_close(y.mean((2, 3), keepdim=True), mean, atol=1e-6, rtol=0)
    factor = ((y - mean) / (x - mean)).flatten(1).median(1).values
    assert stats.kstest(factor.numpy(), stats.uniform(0.7, 0.6).cdf).pvalue > 1e-4
    factor = (augment.intensity(x, changed(color=0.4), generator()) / x).flatten(2).median(2).values
    for channel in range(3):
        assert stats.kstest(factor[:, channel].numpy(), stats.uniform(0.6, 0.8).cdf).pvalue > 1e-4
    assert np.abs(np.corrcoef(factor.T.numpy()) - np.eye(3)).max() < 0.08


def test_all_of_intensity_is_brightness_then_contrast_then_colour():
    x = images(count=50, side=6)
    y = augment.intensity(x, changed(brightness=0.2, contrast=0.3, color=0.4), generator())
    for image, result in zip(x, y, strict=True):  # a straight line a channel, the same contrast about its mean in all
        lines = [np.polyfit(image[c].flatten().double(), result[c].flatten().double(), 1) for c in range(3)]
        slope, _ = np.array(lines).T
        centre = np.array([np.polyval(lines[c], image[c].mean().item()) for c in range(3)])
        brightness = centre / slope  # color (mean + b) over contrast color
        residual = [
            result[c].flatten() - torch.tensor(np.polyval(lines[c], image[c].flatten().numpy())) for c in range(3)
        ]
        assert max(r.abs().max() for r in residual) < 1e-5
        means = image.mean((1, 2)).numpy()
        fit = np.polyfit(means, brightness, 1)  # (mean + b) / contrast
        np.testing.assert_allclose(np.polyval(fit, means), brightness, atol=2e-3)
        assert 1 / 1.3 - 1e-2 < fit[0] < 1 / 0.7 + 1e-2


def test_noise_has_the_asked_deviation():
    y = augment.intensity(torch.full((8, 3, 64, 64), 0.5), changed(noise=0.05), generator()) - 0.5
    assert stats.kstest(y.flatten()[:20_000].numpy(), stats.norm(0, 0.05).cdf).pvalue > 1e-4


def test_erasing_covers_one_rectangle_with_the_mean_as_often_as_asked():
    x = images(count=2000, side=32)
    y = augment.intensity(x, changed(erase=0.4), generator())
    differs = (x != y).any(1)
    hit = differs.flatten(1).any(1)
    assert abs(hit.float().mean() - 0.4) < 0.04
    share = differs[hit].flatten(1).float().mean(1)
    assert 0.01 < share.min() < 0.03
    assert 0.15 < share.max() < 0.25
    for image, result, mask in zip(x[hit][:50], y[hit][:50], differs[hit][:50], strict=True):
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        torch.testing.assert_close(result[:, mask], image.mean((1, 2)).unsqueeze(1).expand(-1, int(mask.sum())))


def test_the_same_seed_repeats_and_images_differ_from_each_other():
    x = images(count=1).repeat(6, 1, 1, 1)
    config = Augment(noise=0.1, erase=0.5, color=0.1)
    first, again, other = (augment.augment(x, config, 20, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert all(not torch.allclose(first[i], first[j]) for i in range(6) for j in range(i))


def test_global_random_state_is_untouched():
    before = torch.get_rng_state()
    x = augment.augment(images(), Augment(noise=0.1, erase=0.5, color=0.1), 20, generator())
    augment.mixup(x, torch.eye(4), torch.ones(4), 0.4, generator())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("alpha", [0.1, 0.3, 1.0])
def test_mixing_shares_follow_beta(alpha):
    shares = augment.mixing_shares(5000, alpha, generator()).numpy()
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


def test_mixup_mixes_pixels_labels_and_weights_alike():
    count = 16
    x = torch.eye(count).view(count, count, 1, 1).repeat(1, 1, 3, 3)  # pixels tell who was mixed with whom
    weights = torch.rand(count, generator=generator(3)) + 0.1
    targets = torch.softmax(torch.randn((count, 5), generator=generator(4)), 1)
    y, mixed_targets, mixed_weights = augment.mixup(x, targets, weights, 1.0, generator())
    share = y[:, :, 0, 0]
    torch.testing.assert_close(share.sum(1), torch.ones(count))
    assert (share > 0).sum(1).max() == 2
    torch.testing.assert_close(mixed_weights, share @ weights)
    # any loss linear in the targets: the mixed one is the mixture of the weighted ones
    values = torch.randn((count, 5), generator=generator(5))
    mixed = mixed_weights * (mixed_targets * values).sum(1)
    torch.testing.assert_close(mixed, (share * weights * (values @ targets.T)).sum(1))
    torch.testing.assert_close(mixed_targets.sum(1), torch.ones(count))


def test_mixup_of_nothing_is_the_same_objects():
    x, t, w = images(), torch.eye(4), torch.ones(4)
    assert augment.mixup(x, t, w, 0.0, generator()) == (x, t, w)


@pytest.mark.parametrize(
    ("crop", "size", "side", "expected"),
    [
        (80, 80, 128, (114, 114)),  # 1.42 x 80 = 113.6, an even number of pixels wider
        (80, 80, 100, (100, 100)),
        (80, 40, 128, (116, 58)),
        (80, 80, 80, (80, 80)),
        (80, 80, 60, (80, 80)),
        (40, 80, 128, (57, 114)),
        (None, 64, 128, (None, 64)),
    ],
)
def test_margin_is_the_diagonal_or_what_the_image_has(crop, size, side, expected):
    assert augment.margin(Augment(), crop, size, side) == expected
    assert augment.margin(changed(flip=True, color=0.5), crop, size, side) == (crop, size)


def test_with_the_full_margin_no_turn_reflects():
    _, wide = augment.margin(changed(rotate=180.0), 80, 80, 128)
    x = torch.zeros(1, 1, wide, wide)
    x[..., 0, :] = x[..., -1, :] = x[..., :, 0] = x[..., :, -1] = 1  # only the border is bright
    for angle in range(0, 360, 15):
        y = augment.warp(x, draws(1, angle=float(angle)), 80)
        assert y.mean() < 0.01


def test_cutmix_swaps_a_rectangle_and_mixes_labels_by_its_area():
    count, side = 200, 24
    x = torch.eye(count).view(count, count, 1, 1).expand(count, count, side, side)  # pixels tell whose they are
    weights, targets = torch.rand(count, generator=generator(3)) + 0.1, torch.eye(count)
    y, mixed_targets, mixed_weights = augment.cutmix(x, targets, weights, 1.0, generator())
    assert set(y.unique().tolist()) == {0.0, 1.0}
    kept = y[torch.arange(count), torch.arange(count)]  # (N, S, S), 1 where the image is its own
    share = kept.mean((1, 2))
    for own in kept[share < 1]:
        rows, columns = np.nonzero(own.numpy() == 0)
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # a full rectangle
    seen = y.mean((2, 3))  # (N, N), the share of each image in each mixed one
    torch.testing.assert_close(mixed_weights, seen @ weights)
    torch.testing.assert_close(mixed_targets * mixed_weights[:, None], seen * weights)
    # with alpha 1 the cut has a uniform area before what stands out of the image is cut off
    assert 0.55 < share.mean() < 0.75
    assert augment.cutmix(x, targets, weights, 0.0, generator())[0] is x


def test_with_mixup_and_cutmix_a_batch_is_one_or_the_other():
    x, targets, weights = torch.eye(6).view(6, 6, 1, 1).expand(6, 6, 8, 8), torch.eye(6), torch.ones(6)
    kinds = []
    for seed in range(60):
        y = augment.mix(x, targets, weights, Augment(mixup=1.0, cutmix=1.0), generator(seed))[0]
        kinds.append(bool(((y == 0) | (y == 1)).all()))
    assert 15 < sum(kinds) < 45
    both = [augment.mix(x, targets, weights, Augment(cutmix=1.0), generator(2))[0], None]
    both[1] = augment.cutmix(x, targets, weights, 1.0, generator(2))[0]
    assert torch.equal(*both)


def test_stains_are_those_of_the_published_deconvolution():
    np.testing.assert_allclose(augment._STAINS, color.rgb_from_hed)
    x = images(count=3, side=8) * 0.8 + 0.1
    y = augment.stain(x, 0.2, generator())
    # in the space of stains, each image's values are a straight line of what they were
    before, after = (
        np.stack([-np.log(one.permute(1, 2, 0).reshape(-1, 3).double().numpy()) for one in part])
        @ np.linalg.inv(color.rgb_from_hed)
        for part in (x, y)
    )
    inside = ((y > 0.005) & (y < 0.995)).all(1).flatten(1).numpy()
    slopes, offsets = [], []
    for a, b, fits in zip(before, after, inside, strict=True):
        for s in range(3):
            line = stats.linregress(a[fits, s], b[fits, s])
            assert line.rvalue > 0.9999
            slopes.append(line.slope)
            offsets.append(line.intercept)
    assert 0.8 <= min(slopes) < 0.95
    assert 1.05 < max(slopes) <= 1.2
    assert 0.01 < max(map(abs, offsets)) <= 0.2 * 0.2 + 1e-3
    torch.testing.assert_close(augment.stain(x, 0.0, generator()), x)
    assert torch.equal(augment.augment(x, changed(stain=0.2), 8, generator()), augment.stain(x, 0.2, generator()))

"""Batches by index and statistics against numpy and scipy."""

import numpy as np
import pytest
import torch
from scipy import stats

from cellml.sampling.base import Sample
from cellml.training import arrays

CPU = torch.device("cpu")


def sample(count, draw=None, weights=None):
    weights = np.ones(count, dtype=np.float32) if weights is None else weights
    return Sample(np.arange(count)[::-1].copy(), weights, draw)


def batches(of, size, seed=0):
    return arrays.Batches(of, size, torch.Generator().manual_seed(seed), CPU)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_take_gives_raw_values_channels_first(dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 5, 5, 3), dtype=dtype)
    held = arrays.Arrays(torch.from_numpy(pixels), torch.eye(7))
    rows = torch.tensor([3, 3, 0])
    np.testing.assert_array_equal(held.take(rows).numpy(), pixels[[3, 3, 0]].transpose(0, 3, 1, 2))
    assert held.take(rows).dtype == torch.float32
    assert held.labels(rows).argmax(1).tolist() == [3, 3, 0]


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(10, 5, [5, 5]), (11, 5, [5, 5]), (12, 5, [5, 5, 2]), (3, 5, [3])]
)
def test_batches_cover_the_rows_and_never_hold_one(count, size, sizes):
    weights = np.linspace(0.5, 1.5, count, dtype=np.float32)
    found = list(batches(sample(count, weights=weights), size))
    assert [len(rows) for rows, _ in found] == sizes
    rows, seen = torch.cat([r for r, _ in found]).numpy(), torch.cat([w for _, w in found]).numpy()
    assert len(set(rows)) == sum(sizes)
    np.testing.assert_array_equal(seen, weights[::-1][rows])  # the row's own weight: row r stands at count - 1 - r


def test_epochs_differ_and_a_seed_repeats_them():
    of = sample(50)
    once, again, other = batches(of, 50), batches(of, 50), batches(of, 50, seed=1)
    first, second = next(iter(once))[0], next(iter(once))[0]
    assert not torch.equal(first, second)
    assert torch.equal(first, next(iter(again))[0])
    assert not torch.equal(first, next(iter(other))[0])


def test_draws_follow_their_probabilities():
    draw = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.0])
    source = batches(Sample(np.arange(6), np.ones(6, dtype=np.float32), draw), 6)
    drawn = np.bincount(torch.cat([rows for _ in range(2000) for rows, _ in source]).numpy(), minlength=6)
    assert drawn[0] == drawn[5] == 0
    assert stats.chisquare(drawn[1:5], 12_000 * draw[1:5]).pvalue > 1e-4


def test_scale_of_8_bit_keeps_the_range_and_measures_moments():
    pixels = np.random.default_rng(0).integers(0, 200, (30, 8, 8, 2), dtype=np.uint8)
    pixels[..., 1] = 7
    found = arrays.scale(pixels)
    assert (found.low, found.high) == ((0.0, 0.0), (255.0, 255.0))
    np.testing.assert_allclose(found.mean, (pixels / 255).mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(found.std, ((pixels[..., 0] / 255).std(), 1.0), rtol=1e-9)


def test_scale_of_16_bit_takes_percentiles_per_channel():
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(100, 900, (40, 16, 16)), rng.normal(30_000, 4000, (40, 16, 16))], -1)
    pixels = pixels.astype(np.uint16)
    found = arrays.scale(pixels)
    for channel in range(2):
        values = pixels[..., channel].astype(float)
        low, high = np.percentile(values, [0.1, 99.9], method="inverted_cdf")
        assert (found.low[channel], found.high[channel]) == (low, high)
        scaled = (values - low) / (high - low)
        np.testing.assert_allclose([found.mean[channel], found.std[channel]], [scaled.mean(), scaled.std()], rtol=1e-6)


def test_scale_of_a_constant_16_bit_channel_is_usable():
    found = arrays.scale(np.full((4, 8, 8, 1), 500, dtype=np.uint16))
    assert found.high[0] > found.low[0]
    assert found.std[0] == 1.0


def test_scale_looks_at_a_part_of_very_many(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), dtype=np.uint8)
    monkeypatch.setattr(arrays, "_COUNTED", pixels.size // 4)
    np.testing.assert_allclose(arrays.scale(pixels).mean[0], (pixels[::4] / 255).mean())


def test_labels_are_soft_where_the_manifest_is(tiny):
    manifest = tiny.manifest.where([0, 50, 119])
    assert arrays.labels(manifest).argmax(1).tolist() == manifest.targets.tolist()
    soft = np.array([[0.2, 0.3, 0.5], [1, 0, 0], [0, 0.5, 0.5]])
    for k, name in enumerate(manifest.classes):
        manifest = manifest.with_column(f"soft:{name}", soft[:, k])
    np.testing.assert_allclose(arrays.labels(manifest).numpy(), soft, rtol=1e-6)


@pytest.mark.parametrize("draw", [False, True])
def test_steps_give_an_epoch_of_whole_batches_whatever_the_rows(draw):
    of = Sample(np.arange(10), np.ones(10, dtype=np.float32), np.full(10, 0.1) if draw else None)
    made = arrays.Batches(of, 4, torch.Generator().manual_seed(0), CPU, steps=7)
    seen = [rows for rows, _ in made]
    assert len(made) == len(seen) == 7
    assert {len(rows) for rows in seen} == {4}
    if not draw:
        counts = torch.bincount(torch.cat(seen), minlength=10)
        assert counts.min() >= 2
        assert counts.max() <= 3
        assert sorted(torch.cat(seen)[:10].tolist()) == list(range(10))

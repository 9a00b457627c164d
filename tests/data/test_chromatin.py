import numpy as np
import pytest

from cellml.data import chromatin
from cellml.data.lineages import Cell, Path

RADIUS = 10.0
MOTHER = Cell(1, 0, 0, 30, -np.inf, -np.inf, 8.0, 14.0, 22.0, 29.5)
DAUGHTER = Cell(2, 1, 0, 40, 0.0, 6.0, np.inf, np.inf, np.inf, np.inf)
LOOK = chromatin.Looks(1.0, 1.0, 0.1, 0.85, 0.0, np.zeros((2, 4)), np.zeros(2, dtype=np.int64))


def drawn(cell, look=LOOK):
    n = cell.end - cell.first
    path = Path(np.full(n, 50.0), np.full(n, 50.0), np.zeros(n))
    return chromatin.draw(cell, path, look, chromatin.tables(RADIUS, np.random.default_rng(0)), RADIUS)


def spread(mask):
    """Standard deviations along and across the spindle of each frame's mask, in nuclear radii."""
    side = mask.shape[1]
    y, x = np.mgrid[:side, :side] - side // 2
    return np.array([(x[m].std() / RADIUS, y[m].std() / RADIUS) for m in mask])


def test_a_nucleus_thins_to_a_plate_and_parts():
    corner, body, _, mask = drawn(MOTHER)
    assert body.shape == mask.shape
    assert (corner == corner[0]).all()
    wide = spread(mask)
    assert wide[20, 0] < 0.45 * wide[4, 0]
    assert wide[20, 1] > 0.85 * wide[4, 1]
    assert wide[28, 0] > 2 * wide[21, 0]
    middle = mask.shape[1] // 2
    assert mask[20][middle, middle]
    assert not mask[28][middle, middle]
    assert mask.any(axis=(1, 2)).all()


def test_change_is_by_degrees_at_every_onset_but_the_parting():
    _, body, _, mask = drawn(MOTHER)
    step = np.abs(np.diff(body, axis=0)).mean(axis=(1, 2)) / body[0].mean()
    assert step[8] < 2.5 * step[10:13].mean()  # prophase begins
    assert mask[13:15].sum(axis=(1, 2)).std() < 0.2 * mask[13].sum()


def test_condensed_chromatin_is_denser():
    _, body, _, mask = drawn(MOTHER)
    dense = [b[m].mean() for b, m in zip(body, mask, strict=True)]
    assert dense[13] > 1.1 * dense[4]
    assert dense[20] > 1.5 * dense[4]


def test_a_daughter_swells_to_a_nucleus():
    _, _, _, mask = drawn(DAUGHTER)
    area = mask.sum(axis=(1, 2))
    assert (np.diff(area) >= -3).all()
    assert area[0] < 0.35 * area[-1]
    assert area[-1] == pytest.approx(np.pi * RADIUS**2 * 0.85, rel=0.1)


def test_the_spindle_is_there_in_meta_and_anaphase():
    _, _, spindle, _ = drawn(MOTHER)
    strength = spindle.sum(axis=(1, 2))
    assert strength[:14].max() < 1e-3
    assert (strength[16:29] > 10).all()


def test_looks_differ_more_when_it_is_harder():
    easy, hard = (chromatin.looks(400, h, np.random.default_rng(0)) for h in (0.5, 1.0))
    for name in ("brightness", "size", "rough", "lean"):
        assert np.std([getattr(k, name) for k in hard]) > 1.2 * np.std([getattr(k, name) for k in easy])


def test_texture_has_unit_variance_and_wraps():
    for table in chromatin.tables(RADIUS, np.random.default_rng(0)):
        assert table.std() == pytest.approx(1, rel=1e-3)
        inner = np.abs(np.diff(table, axis=0)).mean()
        assert np.abs(table[0] - table[-1]).mean() == pytest.approx(inner, rel=0.5)

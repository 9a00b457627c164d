import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellml.sequences.overlay import places

FIELD = (300, 200)
NONE = np.full(1, -1)


def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    return np.clip(high - low, 0, None).prod()


def test_a_lone_label_stands_above_and_keeps_its_side():
    box, size = np.array([[100.0, 100, 120, 120]]), np.array([[30.0, 14]])
    corner, side = places.place(box, size, FIELD, NONE)
    assert corner.tolist() == [[95, 84]]
    assert side.tolist() == [places.ABOVE]
    assert places.place(box, size, FIELD, np.array([places.LEFT]))[1].tolist() == [places.LEFT]


def test_a_label_makes_way_for_a_neighbour():
    boxes = np.array([[100.0, 100, 120, 120], [95, 80, 125, 98]])
    _, sides = places.place(boxes, np.full((2, 2), (30.0, 14.0)), FIELD, np.full(2, -1))
    assert sides[0] != places.ABOVE


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_labels_stay_in_the_field_and_far_apart_cells_have_free_ones(seed, n):
    rng = np.random.default_rng(seed)
    left, top = rng.uniform(-10, 290, n), rng.uniform(-10, 190, n)
    boxes = np.stack([left, top, left + 15, top + 15], axis=1)
    sizes = np.stack([rng.integers(10, 40, n), np.full(n, 14)], axis=1).astype(float)
    corners, _ = places.place(boxes, sizes, FIELD, np.full(n, -1))
    assert (corners >= 0).all()
    assert (corners + sizes <= np.array(FIELD) + 0.5).all()
    grid = np.array([[x, y, x + 15, y + 15] for x in (40, 140, 240) for y in (40, 140)], dtype=float)
    at, _ = places.place(grid, np.full((6, 2), (30.0, 14.0)), FIELD, np.full(6, -1))
    placed = np.concatenate([at, at + np.array([30, 14])], axis=1)
    assert not any(overlap(placed[i], box) for i in range(6) for box in grid)

"""Where the labels of cells go: beside their outlines, and as little as can be upon each other."""

import numpy as np
import numpy.typing as npt

ABOVE, BELOW, RIGHT, LEFT, INSIDE = range(5)
_MOVED = 0.35  # of a label's area: what it costs to leave the side where the cell's label was in the frame before
_COVERS = 0.25  # of the area of other cells that it covers
_HIDES = 0.6  # of its area: what it costs to lie on its own cell

Boxes = npt.NDArray[np.float64]  # (N, 4): left, top, right, bottom


def place(
    boxes: Boxes, sizes: npt.NDArray[np.float64], field: tuple[int, int], before: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Put a label beside each cell, one after the other, where it covers least.

    Args:
        boxes: (N, 4) left, top, right, bottom of the cells in pixels.
        sizes: (N, 2) width and height of the labels.
        field: width and height of the picture, in which they stay.
        before: (N,) the side in the frame before, -1 for none.

    Returns:
        (N, 2) left and top of the labels, and (N,) the side of each.
    """
    n = len(boxes)
    candidates = _candidates(boxes, sizes, field)
    area = sizes.prod(axis=1)
    on_cells = _overlaps(candidates.reshape(-1, 4), boxes).reshape(n, -1, n)
    own = on_cells[np.arange(n), :, np.arange(n)]
    cost = _COVERS * (on_cells.sum(axis=2) - own) + _HIDES * own
    known = before >= 0
    cost += _MOVED * area[:, None] * (known[:, None] & (np.arange(candidates.shape[1]) != before[:, None]))
    cost += 1e-6 * np.arange(candidates.shape[1])
    corners, sides = np.zeros((n, 2), dtype=np.int64), np.zeros(n, dtype=np.int64)
    placed = np.zeros((n, 4))
    for k in range(n):
        crowded = _overlaps(candidates[k], placed[:k]).sum(axis=1)
        side = int(np.argmin(cost[k] + 2 * crowded))
        placed[k], sides[k] = candidates[k, side], side
        corners[k] = np.rint(placed[k, :2])
    return corners, sides


def _candidates(boxes: Boxes, sizes: npt.NDArray[np.float64], field: tuple[int, int]) -> npt.NDArray[np.float64]:
    """(N, 5, 4): the label above, below, right, left of and inside each cell, moved into the field."""
    left, top, right, bottom = boxes.T
    wide, high = sizes.T
    x, y = (left + right - wide) / 2, (top + bottom - high) / 2
    corners = [(x, top - high - 2), (x, bottom + 2), (right + 2, y), (left - wide - 2, y), (x, y)]
    at = np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)
    most = np.array(field) - sizes
    at = np.clip(at, 0, np.maximum(most, 0)[:, None, :])
    return np.concatenate([at, at + sizes[:, None, :]], axis=2)


def _overlaps(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """Area that each of (N, 4) boxes shares with each of (M, 4) others, (N, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)

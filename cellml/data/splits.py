"""Holdout and k-fold splits, stratified by class, that never divide a group."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cellml.errors import UserError

RESTARTS = 4
RESTART_LIMIT = 1000  # groups of several rows up to which several orders are tried
SWEEPS = 20
MISSING = 10.0  # cost of a part without a class that could be there; any imbalance of shares costs less
MOST_JOINED = 0.1  # share of the rows that copies of images may tie together
SWAP_LIMIT = 400  # groups up to which pairs are exchanged, too


def holdout(targets: npt.ArrayLike, groups: npt.ArrayLike, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Rows to hold out, stratified by class, no group divided.

    Args:
        targets: (N,) class indices.
        groups: (N,) group of each row.
        share: wanted share of the rows of each class, in (0, 1).
        seed: the same seed gives the same rows.

    Returns:
        (N,) bool, true for held-out rows; every class that lies in two groups or more is on both sides.

    Raises:
        UserError: a share outside (0, 1), or fewer than two groups.
    """
    if not 0 < share < 1:
        raise UserError(f"Expected a share between 0 and 1 to hold out, got {share}")
    return _divide(targets, groups, [1 - share, share], seed, "to hold some out") == 1


def kfold(targets: npt.ArrayLike, groups: npt.ArrayLike, k: int, seed: int) -> npt.NDArray[np.int64]:
    """Fold of each row, stratified by class, no group divided.

    Args:
        targets: (N,) class indices.
        groups: (N,) group of each row.
        k: number of folds.
        seed: the same seed gives the same folds.

    Returns:
        (N,) fold indices in [0, k); no fold is empty.

    Raises:
        UserError: k is below 2 or above the number of groups.
    """
    if k < 2:
        raise UserError(f"Expected at least 2 folds, got {k}")
    return _divide(targets, groups, [1 / k] * k, seed, f"for {k} folds")


def joined(groups: npt.ArrayLike, pixels: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Groups that also keep copies of an image together: those that share identical pixels become one.

    Where that would tie more than a tenth of all rows together, as one picture repeated in every group does, those
    rows keep their own groups.

    Args:
        groups: (N,) group of each row.
        pixels: (N,) hash of each row's pixels.

    Returns:
        (N,) group numbers.
    """
    _, group = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    _, image = np.unique(np.asarray(pixels).astype(str), return_inverse=True)
    nodes = int(group.max()) + 1
    edges = coo_array((np.ones(len(group)), (group, nodes + image)), shape=(nodes + int(image.max()) + 1,) * 2)
    _, component = connected_components(edges, directed=False)
    whole = component[group]
    sizes, own = np.bincount(whole)[whole], np.bincount(group)[group]
    too_large = (sizes > MOST_JOINED * len(group)) & (sizes > own)
    return np.where(too_large, int(component.max()) + 1 + group, whole)


def _divide(
    targets: npt.ArrayLike, groups: npt.ArrayLike, shares: list[float], seed: int, purpose: str
) -> npt.NDArray[np.int64]:
    _, labels = np.unique(np.asarray(targets), return_inverse=True)
    names, member = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if len(names) < len(shares):
        raise UserError(
            f"Expected at least {len(shares)} groups {purpose}, found {len(names)}; ask for fewer parts, or set "
            "data.group to something finer"
        )
    counts = np.zeros((len(names), int(labels.max()) + 1))
    np.add.at(counts, (member, labels), 1)
    wanted = _wanted(counts, np.asarray(shares))
    rng = np.random.default_rng(seed)
    several = np.flatnonzero(counts.sum(axis=1) > 1)
    tries = [_part(counts, wanted, several, rng) for _ in range(RESTARTS if 0 < len(several) <= RESTART_LIMIT else 1)]
    return min(tries, key=lambda part: _cost(_sums(counts, part, len(shares)), wanted))[member]


def _wanted(counts: npt.NDArray, shares: npt.NDArray) -> npt.NDArray:
    """Wanted rows, (F, K): the share of each class, but at least one row where the class has a group for every part."""
    wanted = shares[:, None] * counts.sum(axis=0)
    possible = (counts > 0).sum(axis=0) >= len(shares)
    raised = np.where(possible, np.maximum(wanted, 1.0), wanted)
    excess = raised.sum(axis=0) - wanted.sum(axis=0)
    raised[raised.argmax(axis=0), np.arange(raised.shape[1])] -= excess
    return raised


def _part(counts: npt.NDArray, wanted: npt.NDArray, several: npt.NDArray, rng: np.random.Generator) -> npt.NDArray:
    """Place groups of several rows, largest first, improve by moves and swaps, then deal the single rows."""
    part = np.full(len(counts), -1, dtype=np.int64)
    order = rng.permutation(several)
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    sums = np.zeros_like(wanted)
    for group in order:
        part[group] = _argmin(_cost(_added(sums, counts[group]), wanted), rng)
        sums[part[group]] += counts[group]
    _deal(counts, wanted, part, sums, rng)
    improve = np.arange(len(counts)) if len(counts) <= SWAP_LIMIT else several
    for _ in range(SWEEPS):
        moved = _move(counts, wanted, part, rng.permutation(improve))
        swapped = len(improve) <= SWAP_LIMIT and _swap(counts, wanted, part, rng.permutation(improve))
        if not moved and not swapped:
            break
    return part


def _deal(
    counts: npt.NDArray, wanted: npt.NDArray, part: npt.NDArray, sums: npt.NDArray, rng: np.random.Generator
) -> None:
    left = np.flatnonzero(part < 0)
    label = counts[left].argmax(axis=1)
    for k in np.argsort(np.bincount(label, minlength=counts.shape[1]), kind="stable"):
        for group in rng.permutation(left[label == k]):
            lack = wanted - sums
            best = np.lexsort((lack.sum(axis=1), np.round(lack[:, k], 9)))[-1]
            part[group] = best
            sums[best, k] += 1


def _move(counts: npt.NDArray, wanted: npt.NDArray, part: npt.NDArray, order: npt.NDArray) -> bool:
    changed = False
    sums = _sums(counts, part, len(wanted))
    for group in order:
        here = part[group]
        without = sums.copy()
        without[here] -= counts[group]
        costs = _cost(_added(without, counts[group]), wanted)
        best = int(costs.argmin())
        if costs[best] < costs[here] - 1e-9:
            part[group], changed, sums = best, True, without
            sums[best] += counts[group]
    return changed


def _swap(counts: npt.NDArray, wanted: npt.NDArray, part: npt.NDArray, order: npt.NDArray) -> bool:
    changed = False
    sums = _sums(counts, part, len(wanted))
    for group in order:
        here = part[group]
        others = np.flatnonzero(part != here)
        if not len(others):
            continue
        change = counts[others] - counts[group]
        after = np.repeat(sums[None], len(others), axis=0)
        after[:, here] += change
        after[np.arange(len(others)), part[others]] -= change
        costs = _cost(after, wanted)
        best = int(costs.argmin())
        if costs[best] < _cost(sums, wanted) - 1e-9:
            part[group], part[others[best]] = part[others[best]], here
            sums, changed = after[best], True
    return changed


def _sums(counts: npt.NDArray, part: npt.NDArray, parts: int) -> npt.NDArray:
    sums = np.zeros((parts, counts.shape[1]))
    np.add.at(sums, part, counts)
    return sums


def _added(sums: npt.NDArray, row: npt.NDArray) -> npt.NDArray:
    """(F, F, K): the sums with the row added to each part in turn."""
    return sums[None] + np.eye(len(sums))[:, :, None] * row


def _cost(sums: npt.NDArray, wanted: npt.NDArray) -> npt.NDArray:
    """Chi-square of class shares and sizes, (...), from sums (..., F, K); a part without a class costs more."""
    total = wanted.sum(axis=0)
    classes = ((sums - wanted) ** 2 / (wanted * total)).sum(axis=(-2, -1))
    sizes = ((sums.sum(axis=-1) - wanted.sum(axis=-1)) ** 2 / (wanted.sum(axis=-1) * total.sum())).sum(axis=-1)
    missing = (sums == 0).sum(axis=(-2, -1)) + 100.0 * (sums.sum(axis=-1) == 0).sum(axis=-1)
    return classes + sizes + MISSING * missing


def _argmin(costs: npt.NDArray, rng: np.random.Generator) -> int:
    return int(rng.choice(np.flatnonzero(costs <= costs.min() + 1e-12)))

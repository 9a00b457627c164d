"""What a sampling strategy is given and what it answers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellml.errors import UserError


@dataclass(frozen=True)
class TrainingRows:
    """The training rows and nothing else: a strategy cannot reach validation or test rows.

    Attributes:
        ids: (N,) str, unique.
        targets: (N,) int64 class index; of soft labels, the most probable class.
        groups: (N,) str, what may not be split.
        num_classes: K; a class may have no rows.
        soft_targets: (N, K) label probabilities, rows sum to 1, or None.
        features: (N, D) embedding of each row, for strategies that look at neighbours, or None.
    """

    ids: npt.NDArray[np.object_]
    targets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.object_]
    num_classes: int
    soft_targets: npt.NDArray[np.float64] | None = None
    features: npt.NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        n, k = len(self.ids), self.num_classes
        if self.targets.shape != (n,) or len(self.groups) != n:
            raise ValueError(f"expected {n} targets and groups, got {self.targets.shape} and {len(self.groups)}")
        if n == 0:
            raise UserError("Expected training rows, got none; give the training split some rows")
        if len(set(self.ids)) != n:
            raise ValueError("expected unique ids")
        if self.targets.min() < 0 or self.targets.max() >= k:
            raise ValueError(f"expected targets from 0 to {k - 1}, got {self.targets.min()} to {self.targets.max()}")
        if self.soft_targets is not None:
            _check_soft(self.soft_targets, self.ids, k)
        if self.features is not None and (self.features.ndim != 2 or len(self.features) != n):
            raise ValueError(f"expected features (N, D) with N = {n}, got {self.features.shape}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Rows of each class, (K,)."""
        return np.bincount(self.targets, minlength=self.num_classes)


@dataclass(frozen=True)
class Sample:
    """Which training rows a network sees, how often, and with which weight.

    Attributes:
        rows: (M,) int64 positions in the training rows, repeats allowed.
        weights: (M,) float32 weight of each one's loss, positive, mean 1.
        draw: (M,) float64 probabilities of an epoch's M draws with replacement, or None: every row once an epoch.
    """

    rows: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    draw: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def counts(self, training: TrainingRows) -> npt.NDArray[np.float64]:
        """Rows of each class in an epoch, (K,); expected numbers where rows are drawn."""
        share = np.ones(len(self)) if self.draw is None else self.draw * len(self)
        counts = np.zeros(training.num_classes)
        np.add.at(counts, training.targets[self.rows], share)
        return counts


def _check_soft(soft: npt.NDArray[np.float64], ids: npt.NDArray[np.object_], k: int) -> None:
    if soft.shape != (len(ids), k):
        raise ValueError(f"expected soft targets of shape {(len(ids), k)}, got {soft.shape}")
    fine = np.isfinite(soft).all(axis=1) & (soft >= 0).all(axis=1) & (np.abs(soft.sum(axis=1) - 1) < 1e-3)
    if not fine.all():
        row = int(np.flatnonzero(~fine)[0])
        raise UserError(
            f"Expected label probabilities that are not negative and sum to 1, got {soft[row].tolist()} for "
            f"{ids[row]!r} ({int((~fine).sum())} such rows); correct the label columns"
        )

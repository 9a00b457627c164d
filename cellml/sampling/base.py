"""What a sampling strategy is given and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import gcd, lcm

import numpy as np
import numpy.typing as npt

from cellml.data.manifest import Manifest
from cellml.errors import UserError, near

Space = Callable[[], npt.NDArray[np.floating]]  # computes the (N, D) features of the N training rows

_SMALLEST = 20  # denominator of a mixture's ratio, at most


@dataclass(frozen=True)
class TrainingRows:
    """The training rows and nothing else: a strategy cannot reach validation or test rows.

    Attributes:
        ids: (N,) str, unique.
        targets: (N,) int64 class index; of soft labels, the most probable class.
        groups: (N,) str, what may not be split.
        classes: K names; a class may have no rows.
        soft_targets: (N, K) label probabilities, rows sum to 1, or None.
        spaces: name -> what computes the rows' features there, for strategies that look at neighbours.
    """

    ids: npt.NDArray[np.object_]
    targets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.object_]
    classes: tuple[str, ...]
    soft_targets: npt.NDArray[np.float64] | None = None
    spaces: Mapping[str, Space] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest, spaces: Mapping[str, Space] | None = None) -> "TrainingRows":
        """The rows of a manifest, in its order.

        Args:
            manifest: N rows.
            spaces: see the attribute.

        Raises:
            UserError: some of them are test rows.
        """
        tested = int((manifest.table["split"] == "test").sum())
        if tested:
            raise UserError(
                f"Expected training rows, got {tested} rows of the test split; take manifest.split('train')"
            )
        return cls(
            manifest.ids, manifest.targets, manifest.groups, manifest.classes, manifest.soft_targets, spaces or {}
        )

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

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_classes(self) -> int:
        """K, classes without rows included."""
        return len(self.classes)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Rows of each class, (K,)."""
        return np.bincount(self.targets, minlength=self.num_classes)

    @property
    def labels(self) -> npt.NDArray[np.float64]:
        """Label probabilities, (N, K): the soft labels, or ones and zeros."""
        return np.eye(self.num_classes)[self.targets] if self.soft_targets is None else self.soft_targets

    @cached_property
    def kinds(self) -> npt.NDArray[np.object_]:
        """Soft-label group of each row, (N,) str: the class of a pure row, and of a mixture e.g. "A:B 1:2".

        A mixture is named by its classes, in class order, and its ratio in the smallest whole numbers; probabilities
        count as the nearest fractions with denominators up to 20.
        """
        if self.soft_targets is None:
            return np.array(self.classes, dtype=object)[self.targets]
        different, where = np.unique(self.soft_targets, axis=0, return_inverse=True)
        names = np.array([_kind(row, self.classes) for row in different], dtype=object)
        return names[where.ravel()]

    def space(self, name: str | None = None) -> npt.NDArray[np.float32]:
        """Features of the rows in a space, (N, D) float32, computed once.

        Args:
            name: "embeddings" or "pixels"; None: embeddings where there are any, else pixels.

        Raises:
            UserError: these rows do not have the space, or its values are not finite.
        """
        wanted = name or ("embeddings" if "embeddings" in self.spaces else "pixels")
        if wanted not in self.spaces:
            raise UserError(
                f"Expected a space with features of the training rows, got {wanted!r}: {near(wanted, self.spaces)}; "
                "set sampling.embeddings or model.weights, or space: pixels"
            )
        if wanted not in self._features:
            features = np.asarray(self.spaces[wanted](), dtype=np.float32)
            if features.ndim != 2 or len(features) != len(self):
                raise ValueError(f"expected {wanted} (N, D) with N = {len(self)}, got {features.shape}")
            if not np.isfinite(features).all():
                raise UserError(f"Expected finite {wanted}, got NaN or infinite values; check the model they come from")
            self._features[wanted] = features
        return self._features[wanted]

    @cached_property
    def _features(self) -> dict[str, npt.NDArray[np.float32]]:
        return {}


@dataclass(frozen=True)
class Sample:
    """Which training rows a network sees, how often, and with which weight.

    Item m is the image (or embedding) (1 - mix[m]) * x[rows[m]] + mix[m] * x[partners[m]]. Of two parents, the one in
    `rows` is the nearer one; it is of the item's class, and its group is the item's group.

    Attributes:
        rows: (M,) int64 positions in the training rows, repeats allowed.
        weights: (M,) float32 weight of each one's loss, positive, mean 1.
        draw: (M,) float64 probabilities of an epoch's M draws with replacement, or None: every item once an epoch.
        partners: (M,) int64 positions of the second parents, or None: no item is interpolated.
        mix: (M,) float32 share of the second parents, 0 for real rows, or None with `partners`.
        transforms: (M,) int8 number of the offline change of x[rows[m]] (see `cellml.data.offline`), 0 for none, or
            None: no item is changed.
        seed: what the random numbers of the offline changes start from.
        notes: fallbacks that were taken, one line each.
    """

    rows: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    draw: npt.NDArray[np.float64] | None = None
    partners: npt.NDArray[np.int64] | None = None
    mix: npt.NDArray[np.float32] | None = None
    transforms: npt.NDArray[np.int8] | None = None
    seed: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def synthetic(self) -> npt.NDArray[np.bool_]:
        """Which items are no training rows as they are, (M,)."""
        made = np.zeros(len(self), dtype=bool)
        if self.mix is not None:
            made |= self.mix > 0
        if self.transforms is not None:
            made |= self.transforms > 0
        return made

    def counts(self, training: TrainingRows) -> npt.NDArray[np.float64]:
        """Items of each class in an epoch, (K,), by the class of `rows`; expected numbers where items are drawn."""
        share = np.ones(len(self)) if self.draw is None else self.draw * len(self)
        counts = np.zeros(training.num_classes)
        np.add.at(counts, training.targets[self.rows], share)
        return counts

    def targets(self, training: TrainingRows) -> npt.NDArray[np.float64]:
        """Label probabilities of the items, (M, K): hard labels are those of `rows`, soft ones are interpolated."""
        if training.soft_targets is None:
            return training.labels[self.rows]
        return self._mixed(training.soft_targets).astype(np.float64, copy=False)

    def features(self, x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Features of the items, (M, D), interpolated; offline changes are ignored.

        Args:
            x: (N, D) features of the training rows.
        """
        return self._mixed(x)

    def _mixed(self, x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        taken = x[self.rows]
        if self.mix is None or self.partners is None:
            return taken
        made = np.flatnonzero(self.mix > 0)
        share = self.mix[made, None].astype(x.dtype)
        taken[made] = (1 - share) * taken[made] + share * x[self.partners[made]]
        return taken


def _kind(probabilities: npt.NDArray[np.float64], classes: tuple[str, ...]) -> str:
    present = np.flatnonzero(probabilities > 1e-3)
    if len(present) == 1:
        return classes[present[0]]
    parts = [Fraction(float(p)).limit_denominator(_SMALLEST) for p in probabilities[present]]
    if not all(parts):  # a share so small that it would vanish
        parts = [Fraction(float(p)).limit_denominator(1000) for p in probabilities[present]]
    whole = lcm(*(part.denominator for part in parts))
    ratio = [int(part * whole) for part in parts]
    smallest = gcd(*ratio)
    return ":".join(classes[k] for k in present) + " " + ":".join(str(r // smallest) for r in ratio)


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

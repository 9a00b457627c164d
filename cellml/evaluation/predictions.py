"""Predictions: what a model said of which image, the currency of everything that evaluates, compares or ensembles."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cellml.data.manifest import Manifest
from cellml.errors import UserError


@dataclass(frozen=True)
class Predictions:
    """Probabilities beside the truth, immutable.

    Attributes:
        ids: (N,) str, unique.
        targets: (N,) int64 class index, -1 where unknown.
        probabilities: (N, K) float64, rows sum to 1.
        groups: (N,) str, what may not be split.
        classes: the K class names.
        soft_targets: (N, K) label probabilities, also of rows whose class is unknown (a mixture's), or None.
        sequences: (N,) str, the sequence of each frame, or None where the rows are no frames of movies.
        frames: (N,) int64, the place of each frame in its sequence, or None.
    """

    ids: npt.NDArray[np.object_]
    targets: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    groups: npt.NDArray[np.object_]
    classes: tuple[str, ...]
    soft_targets: npt.NDArray[np.float64] | None = None
    sequences: npt.NDArray[np.object_] | None = None
    frames: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n, k = len(self.ids), len(self.classes)
        if self.probabilities.shape != (n, k):
            raise ValueError(f"expected probabilities of shape {(n, k)}, got {self.probabilities.shape}")
        if len(self.targets) != n or len(self.groups) != n:
            raise ValueError(f"expected {n} targets and groups, got {len(self.targets)} and {len(self.groups)}")

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, manifest: Manifest, probabilities: npt.NDArray) -> "Predictions":
        """Beside a manifest's N rows their probabilities (N, K), made to sum to 1 in float64."""
        values = probabilities.astype(np.float64)
        return cls(
            ids=manifest.ids,
            targets=manifest.known_targets,
            probabilities=values / values.sum(axis=1, keepdims=True),
            groups=manifest.groups,
            classes=manifest.classes,
            soft_targets=manifest.soft_targets,
            sequences=manifest.sequences,
            frames=manifest.frames,
        )

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Most probable class, (N,) int64."""
        return self.probabilities.argmax(axis=1)

    @property
    def labelled(self) -> "Predictions":
        """The rows whose target is known; itself where all are."""
        known = self.targets >= 0
        return self if known.all() else self.where(known)

    @property
    def truth(self) -> npt.NDArray[np.float64]:
        """Label probabilities, (N, K): the soft targets, or ones and zeros; zeros where the class is unknown."""
        if self.soft_targets is not None:
            return self.soft_targets
        return (self.targets[:, None] == np.arange(len(self.classes))).astype(np.float64)

    def where(self, mask: npt.ArrayLike) -> "Predictions":
        """The rows where a boolean (N,) mask is true, or the rows at the given positions, in that order."""
        chosen = np.asarray(mask)
        return replace(
            self,
            ids=self.ids[chosen],
            targets=self.targets[chosen],
            probabilities=self.probabilities[chosen],
            groups=self.groups[chosen],
            soft_targets=None if self.soft_targets is None else self.soft_targets[chosen],
            sequences=None if self.sequences is None else self.sequences[chosen],
            frames=None if self.frames is None else self.frames[chosen],
        )

    def save(self, path: str | Path) -> None:
        """Write as Parquet: id, group, target, predicted, p:<class>, t:<class> of soft labels, sequence and frame."""
        names = np.array([*self.classes, ""], dtype=object)  # target -1 is the empty name
        columns = {
            "id": self.ids,
            "group": self.groups,
            "target": names[self.targets],
            "predicted": names[self.predicted],
        }
        columns |= {f"p:{name}": self.probabilities[:, k] for k, name in enumerate(self.classes)}
        if self.soft_targets is not None:
            columns |= {f"t:{name}": self.soft_targets[:, k] for k, name in enumerate(self.classes)}
        if self.sequences is not None and self.frames is not None:
            columns |= {"sequence": self.sequences, "frame": self.frames}
        table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
        meta = {**(table.schema.metadata or {}), b"cellml.classes": json.dumps(self.classes).encode()}
        pq.write_table(table.replace_schema_metadata(meta), path)

    @classmethod
    def load(cls, path: str | Path) -> "Predictions":
        """Read what `save` wrote.

        Raises:
            UserError: the file holds no predictions.
        """
        table = pq.read_table(path)
        meta = table.schema.metadata or {}
        if b"cellml.classes" not in meta or "p:" not in "".join(table.column_names):
            raise UserError(f"Expected predictions written by CellML, got another Parquet file: {path}")
        classes = tuple(json.loads(meta[b"cellml.classes"]))
        frame = table.to_pandas()
        index = {name: k for k, name in enumerate(classes)}
        soft = [f"t:{name}" for name in classes]
        return cls(
            ids=frame["id"].to_numpy(dtype=object),
            targets=np.array([index.get(name, -1) for name in frame["target"]], dtype=np.int64),
            probabilities=frame[[f"p:{name}" for name in classes]].to_numpy(dtype=np.float64),
            groups=frame["group"].to_numpy(dtype=object),
            classes=classes,
            soft_targets=frame[soft].to_numpy(dtype=np.float64) if soft[0] in frame else None,
            sequences=frame["sequence"].to_numpy(dtype=object) if "sequence" in frame else None,
            frames=frame["frame"].to_numpy(dtype=np.int64) if "frame" in frame else None,
        )

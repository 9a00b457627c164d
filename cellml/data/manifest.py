"""The manifest: one row an image, the currency between reading data and everything after."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cellml.errors import UserError

SPLITS = ("train", "val", "test")
BOX = ("x0", "y0", "x1", "y1")
COLUMNS = ("id", "file", "label", "group", "split", "pixels", "row")
MIXTURE = "mixture"
SEQUENCE = "sequence"
FRAME = "frame"
PAGE = "page"
PARENT = "parent"
TRANSCRIPT = "transcript"
ARROW = ">"  # between the stages of a transcript
MASK_VALUE = "mask_value"
SOFT = "soft:"  # prefix of the columns with class probabilities
VOTES = "votes:"  # prefix of the columns with each expert's class
AUXILIARY = "auxiliary:"  # prefix of the columns with further labels
KEPT = "kept:"  # prefix of the columns that only stay beside the images


def strata(table: pd.DataFrame) -> npt.NDArray[np.object_]:
    """What splits are stratified by, (N,): the mixture of a mixed row, the class of the others."""
    if MIXTURE not in table:
        return table["label"].to_numpy(dtype=object)
    return np.where(table[MIXTURE] != "", table[MIXTURE], table["label"]).astype(object)


@dataclass(frozen=True)
class Manifest:
    """One row an image, immutable.

    Columns of `table`: `id` (unique str), `file` (path relative to the data folder), `label` (class name), `group`
    (str; the id itself where nothing groups), `split` ("train", "val", "test", or "" before splitting), `pixels` (32
    hex digits of the decoded pixels, "" before decoding), `row` (position in the pixel cache, -1 before decoding);
    optional `x0, y0, x1, y1` (box in source pixels), `mask` (file), `soft:<class>` (label probabilities),
    `votes:<expert>` (the class that an expert voted for, "" for none), `auxiliary:<column>` (a further label that a
    network may learn beside the class, "" for none), `kept:<column>` (what else is known of an image), and `mixture`
    (name of the mixture that a row was taken from, so that its own class is unknown and `label` is the most frequent
    one; "" for the others). Rows that are frames of movies have `sequence` (the cell's), `frame` (its place in time,
    from 0 on), and may have `page` (of a file of several images, from 0 on), `parent` (the sequence of the cell that
    it came from, "" for none), the label "", unknown, `transcript` (the sequence's classes in order, "a>b>c", "" where
    only the labels tell) and `mask_value` (of the cell in its mask's file; 0: whatever is above 0).
    """

    table: pd.DataFrame
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        missing = [c for c in COLUMNS if c not in self.table]
        if missing:
            raise ValueError(f"a manifest needs the columns {missing}")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> npt.NDArray[np.object_]:
        """Row ids, (N,) str."""
        return self.table["id"].to_numpy(dtype=object)

    @property
    def groups(self) -> npt.NDArray[np.object_]:
        """Group of each row, (N,) str."""
        return self.table["group"].to_numpy(dtype=object)

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """Class index of each row, -1 for the frames without a label, (N,) int64."""
        index = {"": -1} | {name: k for k, name in enumerate(self.classes)}
        return np.array([index[label] for label in self.table["label"]], dtype=np.int64)

    @property
    def mixed(self) -> npt.NDArray[np.bool_]:
        """Rows of a mixture, (N,): their own class is unknown."""
        if MIXTURE not in self.table:
            return np.zeros(len(self), dtype=bool)
        return (self.table[MIXTURE] != "").to_numpy(dtype=bool)

    @property
    def known_targets(self) -> npt.NDArray[np.int64]:
        """Class index of each row, -1 where the class is unknown, (N,) int64."""
        return np.where(self.mixed, -1, self.targets)

    @property
    def strata(self) -> npt.NDArray[np.object_]:
        """What splits are stratified by, (N,): the mixture of a mixed row, the class of the others."""
        return strata(self.table)

    @property
    def soft_targets(self) -> npt.NDArray[np.float64] | None:
        """Label probabilities, (N, K), or None where labels are hard."""
        columns = [SOFT + name for name in self.classes]
        if not all(c in self.table for c in columns):
            return None
        return self.table[columns].to_numpy(dtype=np.float64)

    @property
    def votes(self) -> dict[str, npt.NDArray[np.int64]]:
        """Expert -> the class index that he voted for, (N,), -1 for none; empty where there are no votes."""
        index = {name: k for k, name in enumerate(self.classes)}
        columns = [c for c in self.table if str(c).startswith(VOTES)]
        given = {c: [index.get(name, -1) for name in self.table[c]] for c in columns}
        return {str(c).removeprefix(VOTES): np.array(votes, dtype=np.int64) for c, votes in given.items()}

    @property
    def auxiliary(self) -> dict[str, npt.NDArray[np.object_]]:
        """Column -> further labels, (N,) str, "" for none; empty where the experiment names no such column."""
        columns = [str(c) for c in self.table if str(c).startswith(AUXILIARY)]
        return {c.removeprefix(AUXILIARY): self.table[c].to_numpy(dtype=object) for c in columns}

    @property
    def kept(self) -> dict[str, npt.NDArray[np.object_]]:
        """Column of data.keep -> its (N,) str."""
        columns = [str(c) for c in self.table if str(c).startswith(KEPT)]
        return {c.removeprefix(KEPT): self.table[c].to_numpy(dtype=object) for c in columns}

    @property
    def sequences(self) -> npt.NDArray[np.object_] | None:
        """Sequence of each row, (N,) str, or None where the rows are no frames of movies."""
        return self.table[SEQUENCE].to_numpy(dtype=object) if SEQUENCE in self.table else None

    @property
    def frames(self) -> npt.NDArray[np.int64] | None:
        """Place in its sequence of each row, (N,), or None where the rows are no frames of movies."""
        return self.table[FRAME].to_numpy(dtype=np.int64) if FRAME in self.table else None

    @property
    def transcripts(self) -> dict[str, tuple[int, ...]]:
        """Sequence -> its distinct consecutive classes as indices; empty where none is known.

        As given, else from the labels of the sequences whose frames all have one.
        """
        if SEQUENCE not in self.table:
            return {}
        index = {name: k for k, name in enumerate(self.classes)}
        found = {}
        for name, rows in self.table.sort_values(FRAME).groupby(SEQUENCE, sort=True):
            given = rows[TRANSCRIPT].iloc[0] if TRANSCRIPT in rows else ""
            labels = given.split(ARROW) if given else rows["label"].tolist()
            if "" not in labels:
                found[str(name)] = tuple(index[a] for n, a in enumerate(labels) if n == 0 or a != labels[n - 1])
        return found

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Position of each image in the pixel cache, (N,) int64."""
        return self.table["row"].to_numpy(dtype=np.int64)

    @property
    def window(self) -> int | None:
        """Side of the windows that all rows are cut out as, None where they are no squares of one size."""
        if BOX[0] not in self.table or not len(self):
            return None
        x0, y0, x1, y1 = (self.table[side].to_numpy(dtype=np.int64) for side in BOX)
        sides = np.unique(np.concatenate([x1 - x0, y1 - y0]))
        return int(sides[0]) if len(sides) == 1 else None

    @property
    def counts(self) -> dict[str, int]:
        """Rows per class, in class order; those of a mixture are of no known class and not counted."""
        counts = self.table["label"][~self.mixed].value_counts()
        return {name: int(counts.get(name, 0)) for name in self.classes}

    @property
    def frequencies(self) -> dict[str, int]:
        """As `counts`; where no row has a label, how often each class stands in the transcripts."""
        if any(self.counts.values()):
            return self.counts
        said = [stage for stages in self.transcripts.values() for stage in stages]
        return {name: said.count(k) for k, name in enumerate(self.classes)}

    @property
    def digest(self) -> str:
        """32 hex digits of ids, labels, soft labels, groups, splits and decoded pixels; not of paths or order."""
        columns = [
            "id",
            "label",
            "group",
            "split",
            "pixels",
            *(c for c in self.table.columns if str(c).startswith(SOFT) or c in (SEQUENCE, FRAME)),
        ]
        lines = sorted(json.dumps(row, default=float) for row in self.table[columns].values.tolist())
        content = "\n".join([json.dumps(self.classes), json.dumps(columns), *lines])
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def where(self, mask: npt.ArrayLike) -> "Manifest":
        """The rows where a boolean (N,) mask is true, or the rows at the given positions, in that order."""
        chosen = np.asarray(mask)
        table = self.table[chosen] if chosen.dtype == bool else self.table.iloc[chosen]
        return replace(self, table=table.reset_index(drop=True))

    def split(self, *names: str) -> "Manifest":
        """The rows of one or several splits."""
        return self.where(self.table["split"].isin(names).to_numpy())

    @property
    def unit(self) -> str:
        """What a row is called: "frame" or "image"."""
        return "image" if self.sequences is None else "frame"

    @property
    def images(self) -> "Manifest":
        """The same rows as images by themselves, no frames of movies."""
        further = [name for name in (SEQUENCE, FRAME, PARENT, TRANSCRIPT) if name in self.table]
        return replace(self, table=self.table.drop(columns=further))

    def positions(self, rows: "Manifest") -> npt.NDArray[np.int64]:
        """Where rows of this manifest stand in it, (N,)."""
        order = np.argsort(self.rows)
        return order[np.searchsorted(self.rows, rows.rows, sorter=order)]

    def with_column(self, name: str, values: Sequence[object] | npt.NDArray) -> "Manifest":
        """A copy with one column set."""
        table = self.table.copy()
        table[name] = np.asarray(values)
        return replace(self, table=table)

    def save(self, path: str | Path) -> None:
        """Write as Parquet, classes in the schema's metadata."""
        table = pa.Table.from_pandas(self.table, preserve_index=False)
        meta = {**(table.schema.metadata or {}), b"cellml.classes": json.dumps(self.classes).encode()}
        pq.write_table(table.replace_schema_metadata(meta), path)

    @classmethod
    def load(cls, path: str | Path) -> "Manifest":
        """Read what `save` wrote.

        Raises:
            UserError: the file is no manifest.
        """
        table = pq.read_table(path)
        meta = table.schema.metadata or {}
        if b"cellml.classes" not in meta:
            raise UserError(f"Expected a manifest written by CellML, got another Parquet file: {path}")
        return cls(table.to_pandas(), tuple(json.loads(meta[b"cellml.classes"])))

"""What is wrong with a row or a set of rows, and the rows that a source read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Problem:
    """One finding: its kind (`unreadable`, say), a sentence for a person, and the ids of the rows it is about."""

    kind: str
    message: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """What a source read: a table with the manifest's columns except `pixels` and `row`, and what was left out."""

    table: "pd.DataFrame"
    classes: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    root: Path | None = None  # what `file` is relative to, where the source made the images itself

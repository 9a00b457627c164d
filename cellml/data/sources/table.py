"""A table with one row an image."""

from pathlib import Path

from cellml.config import Data
from cellml.data.problems import Rows
from cellml.data.sources import columns, labels, paths
from cellml.data.sources.base import SOURCES, assemble


@SOURCES.register("table")
def table(data: Data, root: Path, cache_dir: Path) -> Rows:
    """A CSV or Parquet table: columns for file, label (or votes, or probabilities), group and split.

    Raises:
        UserError: a table, column or class that is not there, or a file outside the data folder.
    """
    path = columns.find(data.table, root)
    frame = columns.read(path)
    named = labels.from_table(frame, data, path.name)
    files = paths.files(frame, named.names, data.file, root, path.name)
    return assemble(frame, files, named, data, root, where=path.name)

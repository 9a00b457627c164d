"""Reading tables as text, so that ids keep their zeros and True in CSV is True in Parquet."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from cellml.errors import UserError

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")


def read(path: Path) -> pd.DataFrame:
    """Read a CSV, tab-separated or Parquet table; every cell becomes text, missing ones "".

    Raises:
        UserError: no such file, not a table, or a table without rows.
    """
    if not path.is_file():
        near = (
            sorted(p.name for p in path.parent.glob("*") if p.suffix in SUFFIXES)[:10] if path.parent.is_dir() else []
        )
        raise UserError(f"Expected a table at {path}, found none; tables there: {near}")
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else _read_text(path)
    except (ValueError, pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as a table: {' '.join(str(error).split())}") from None
    if frame.empty:
        raise UserError(f"Expected rows in {path}, found none; check the file")
    return pd.DataFrame({str(name): _text(frame[name]) for name in frame.columns})


def find(name: str | None, root: Path, setting: str = "data.table") -> Path:
    """The table's path: as given, relative to the data folder, or the only one directly in it."""
    if name is not None:
        inside = root / name
        return inside if inside.is_file() or not Path(name).is_file() else Path(name)
    found = sorted(p for p in root.iterdir() if p.suffix in SUFFIXES and p.is_file())
    if len(found) != 1:
        names = [p.name for p in found]
        raise UserError(f"Expected one table in {root}, found {names}; set {setting} to its file name")
    return found[0]


def lines(count: int) -> list[str]:
    """Where the rows of a table stand in its file, for messages: "line 2" for the first, below the header."""
    return [f"line {n + 2}" for n in range(count)]


def column(frame: pd.DataFrame, name: str, where: str, setting: str) -> pd.Series:
    """A column by name.

    Raises:
        UserError: it is not there.
    """
    if name not in frame:
        shown = [str(c) for c in frame.columns]
        more = ", ..." if len(shown) > 20 else ""
        listed = ",".join(repr(c) for c in shown[:20])
        raise UserError(f"Expected column {name!r} in {where}, found [{listed}{more}]; set {setting} to one of them")
    return frame[name]


def fill(template: str, frame: pd.DataFrame, extra: dict[str, pd.Series], where: str, setting: str) -> pd.Series:
    """Fill a template such as "images/{class}/{uid}.png" for every row.

    Args:
        template: text with column names in braces; a plain column name gives that column.
        frame: the columns.
        extra: further values by name; they hide columns of the same name.
        where: what the columns belong to, for messages.
        setting: the setting that holds the template, for messages.

    Raises:
        UserError: a name in braces that is no column, or a brace without its partner.
    """
    if "{" not in template:
        return column(frame, template, where, setting)
    if set("{}") & set(re.sub(r"\{[^{}]*\}", "", template)):
        raise UserError(f"Expected every brace of {setting} closed, as in {{column}}, got {template!r}; correct it")
    known = pd.DataFrame({**{name: frame[name] for name in frame.columns}, **extra})
    filled = pd.Series([""] * len(frame), dtype=object)
    for text, name in re.findall(r"([^{}]*)(?:\{([^{}]*)\})?", template):
        filled = filled + text
        if name:
            filled = filled + column(known, name, where, setting).astype(object).reset_index(drop=True)
    return filled


def _read_text(path: Path) -> pd.DataFrame:
    with open(path, encoding="utf-8-sig") as file:
        first = file.readline()
    separator = max(",;\t", key=first.count)
    return pd.read_csv(
        path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
    )


def _text(values: pd.Series) -> pd.Series:
    missing = values.isna().to_numpy()
    if values.dtype.kind == "f" and np.all(values[~missing] == np.floor(values[~missing])):
        texts = [str(int(v)) if np.isfinite(v) else "" for v in values]
    else:
        texts = [str(v).strip() for v in values]
    return pd.Series(np.where(missing, "", np.array(texts, dtype=object)), dtype=object)

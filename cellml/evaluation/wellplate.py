"""Multiwell plates: where a well lies, and which wells are at the edge."""

import re
from collections.abc import Iterable

FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))  # rows and columns of 6 to 1536 wells
_NAME = re.compile(r"([A-Z]|A[A-F])[-_ ]?0*([1-9]\d?)")


def position(well: str) -> tuple[int, int] | None:
    """Row and column, from 0 on, of a well's name ("B07" is (1, 6), "AA1" (26, 0)); None of another name."""
    found = _NAME.fullmatch(well.strip().upper())
    if found is None:
        return None
    letters, number = found.groups()
    row = ord(letters[-1]) - ord("A") + (26 if len(letters) == 2 else 0)
    return (row, int(number) - 1) if row < FORMATS[-1][0] and int(number) <= FORMATS[-1][1] else None


def format_of(wells: Iterable[str]) -> tuple[int, int] | None:
    """Rows and columns of the smallest usual plate that has all these wells; None where a name is none of a plate's."""
    places = [position(well) for well in wells]
    if not places or None in places:
        return None
    rows, columns = (1 + max(place[axis] for place in places if place) for axis in (0, 1))
    return next(known for known in FORMATS if known[0] >= rows and known[1] >= columns)


def at_edge(well: str, plate: tuple[int, int]) -> bool:
    """Whether a well lies in the outermost rows or columns of a plate of the given rows and columns."""
    place = position(well)
    return place is not None and any(place[axis] in (0, plate[axis] - 1) for axis in (0, 1))


def row_name(row: int) -> str:
    """A, B, ... Z, AA, ... of a row counted from 0."""
    return chr(ord("A") + row) if row < 26 else "A" + chr(ord("A") + row - 26)

"""Labels of rows: from a column, from experts' votes or from class probabilities."""

import re
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.config import Data
from cellml.data.images import natural
from cellml.data.problems import Problem
from cellml.data.sources import columns
from cellml.errors import UserError, near

TRUTH = (("True", "true", "TRUE", "1"), ("False", "false", "FALSE", "0"))
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Labels:
    """Labels of N rows.

    Attributes:
        names: (N,) str, a class name or "" for a row to leave out; of a mixture, its most frequent class.
        classes: the K class names.
        soft: (N, K) label probabilities, or None.
        mixtures: (N,) str, name of the mixture that a row's own class is unknown in, or "" ; None where there are none.
        problems: what was left out.
        votes: expert -> (N,) str, the class that he voted for or "".
    """

    names: npt.NDArray[np.object_]
    classes: tuple[str, ...]
    soft: npt.NDArray[np.float64] | None = None
    mixtures: npt.NDArray[np.object_] | None = None
    problems: list[Problem] = field(default_factory=list)
    votes: dict[str, npt.NDArray[np.object_]] = field(default_factory=dict)


def from_table(frame: pd.DataFrame, data: Data, where: str) -> Labels:
    """Labels as data.label, data.votes or data.probabilities say; with both, the column is the hard label.

    Raises:
        UserError: a column that is not there, a value that data.classes does not list, probabilities whose sum is
            not 1.
    """
    if data.votes is not None and data.probabilities is not None:
        raise UserError("Expected data.votes or data.probabilities, got both; remove one")
    if data.mixtures and (data.votes or data.probabilities):
        raise UserError("Expected data.mixtures without data.votes and data.probabilities, got both; remove one")
    if data.votes is not None:
        labels = _from_votes(frame, data, where)
    elif data.probabilities is not None:
        labels = _from_probabilities(frame, data, where)
    else:
        return from_values(columns.column(frame, data.label or "label", where, "data.label"), data, where)
    if data.label is None:
        return labels
    given = data if data.classes is not None else data.model_copy(update={"classes": list(labels.classes)})
    hard = from_values(columns.column(frame, data.label, where, "data.label"), given, where)
    problems = [*hard.problems, *labels.problems]
    return Labels(hard.names, hard.classes, labels.soft, problems=problems, votes=labels.votes)


def from_values(values: npt.ArrayLike, data: Data, where: str) -> Labels:
    """Labels from (N,) text values, by data.classes and data.mixtures; blank ones are left out, as a problem.

    With data.unlisted `keep`, values that data.classes does not list are classes of their own, behind those.

    Raises:
        UserError: a value that data.classes does not list, unless data.unlisted is `drop`; a mixture of other classes.
    """
    texts = np.asarray(values, dtype=object)
    mixed = np.isin(texts, list(data.mixtures))
    mapping = _mapping(data.classes, texts[~mixed])
    if data.unlisted == "keep":
        mapping |= {text: text for text in _unlisted(texts[~mixed], mapping)}
    names = texts.copy()
    names[~mixed] = translate(texts[~mixed], mapping, data.unlisted, where)
    blank = texts == ""
    problems = _left_out("no label", f"{_rows(blank)} of {where} without a label, left out", blank)
    dropped = (names == "") & ~blank
    others = sorted(set(texts[dropped]), key=natural)
    text = f"{_rows(dropped)} of {where} with a label that data.classes does not list, left out: {others[:10]}"
    problems += _left_out("unlisted label", text, dropped)
    classes = tuple(dict.fromkeys(mapping.values()))
    if not data.mixtures:
        return Labels(names, classes, problems=problems)
    names[mixed], soft = _ratios(names, mixed, classes, data, where)
    return Labels(names, classes, soft, np.where(mixed, texts, ""), problems)


def of_frames(values: npt.ArrayLike, data: Data, where: str, lines: npt.ArrayLike) -> Labels:
    """Labels of the frames of movies, (N,) text values: blank ones, and with data.unlisted `drop` others, are unknown.

    Raises:
        UserError: no data.classes, or a stage that it does not list; names the line ("line 7").
    """
    texts = np.asarray(values, dtype=object)
    if data.classes is None:
        found = sorted(set(texts) - {""}, key=natural)
        raise UserError(
            f"Expected the stages in their order in data.classes, got none; list them ({where} has {found[:10]})"
        )
    mapping = _mapping(data.classes, texts)
    strange = np.array([text != "" and _lookup(text, mapping) is None for text in texts], dtype=bool)
    if strange.any() and data.unlisted != "drop":
        row = int(strange.argmax())
        raise UserError(
            f"Expected a stage listed in data.classes, found {texts[row]!r} in {where}, "
            f"{np.asarray(lines)[row]}; {near(texts[row], mapping)}; list it, or set data.unlisted: drop"
        )
    text = f"{_rows(strange)} of {where} with a stage that data.classes does not list, counted as unknown"
    problems = _left_out("unlisted label", text, strange)
    return Labels(translate(texts, mapping, "drop", where), tuple(dict.fromkeys(mapping.values())), problems=problems)


def translate(
    texts: npt.NDArray[np.object_], mapping: dict[str, str], unlisted: Literal["error", "drop", "keep"], where: str
) -> npt.NDArray[np.object_]:
    """Class names of (N,) text values, "" for blank and, with `drop`, for unlisted ones.

    A value is looked up as it stands, then without a decimal zero, then, for truth values and 0 and 1, as each other.
    """
    known = {value: _lookup(value, mapping) for value in dict.fromkeys(texts)}
    missing = [value for value, name in known.items() if name is None and value != ""]
    if missing and unlisted != "drop":
        raise UserError(
            f"Expected a label listed in data.classes, found {missing[0]!r} in {where}; {near(missing[0], mapping)}"
            "; list it, or set data.unlisted: drop"
        )
    return np.array([known[value] or "" for value in texts], dtype=object)


def _ratios(
    names: npt.NDArray[np.object_], mixed: npt.NDArray[np.bool_], classes: tuple[str, ...], data: Data, where: str
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.float64]]:
    """Most frequent class of each mixed row, and shares (N, K) of all rows: those of the mixture, or of a pure row."""
    present = set(names)
    if absent := [name for name in data.mixtures if name not in present]:
        known = sorted(present - {""}, key=natural)
        raise UserError(
            f"Expected rows of the mixture {absent[0]!r} of data.mixtures in {where}, found none: "
            f"{near(absent[0], known)}; correct the name, or leave it out"
        )
    shares = {name: np.array([name == other for other in classes], dtype=np.float64) for name in ("", *classes)}
    for mixture, ratio in data.mixtures.items():
        if strange := [name for name in ratio if name not in classes]:
            raise UserError(
                f"Expected a mixture of the classes in {where}, got {strange[0]!r} in data.mixtures {mixture!r}: "
                f"{near(strange[0], classes)}"
            )
        parts = np.array([ratio.get(name, 0.0) for name in classes])
        shares[mixture] = parts / parts.sum()
    soft = np.stack([shares[name] for name in names]) if len(names) else np.zeros((0, len(classes)))
    return np.array(classes, dtype=object)[soft[mixed].argmax(axis=1)], soft


def _mapping(classes: dict[str, str] | list[str] | None, texts: npt.NDArray[np.object_]) -> dict[str, str]:
    if isinstance(classes, dict):
        return {str(value): name for value, name in classes.items()}
    if classes is not None:
        return {name: name for name in classes}
    return {value: value for value in sorted(set(texts) - {""}, key=natural)}


def _unlisted(texts: npt.NDArray[np.object_], mapping: dict[str, str]) -> list[str]:
    return [text for text in sorted(set(texts) - {""}, key=natural) if _lookup(text, mapping) is None]


def _lookup(value: str, mapping: dict[str, str]) -> str | None:
    plain = re.sub(r"\.0+$", "", value)
    same = next((words for words in TRUTH if plain in words), ())
    for candidate in (value, plain, *same):
        if candidate in mapping:
            return mapping[candidate]
    return None


def _from_votes(frame: pd.DataFrame, data: Data, where: str) -> Labels:
    votes = np.stack([columns.column(frame, name, where, "data.votes").to_numpy() for name in data.votes or []], axis=1)
    mapping = _mapping(data.classes, votes.ravel())
    names = translate(votes.ravel(), mapping, data.unlisted, where).reshape(votes.shape)
    classes = tuple(dict.fromkeys(mapping.values()))
    counts = np.stack([(names == name).sum(axis=1) for name in classes], axis=1)
    total = counts.sum(axis=1)
    soft = counts / np.maximum(total, 1)[:, None]
    top = counts.max(axis=1)
    tied = (counts == top[:, None]).sum(axis=1) > 1
    majority = np.array(classes, dtype=object)[counts.argmax(axis=1)]
    none = total == 0
    if data.classes is None and data.label is None:
        _check_votes(votes, set(majority[~none]), data.votes or [], where)
    problems = _left_out("no label", f"{_rows(none)} of {where} without a vote, left out", none)
    if data.label is None:
        tied &= ~none
        text = f"{_rows(tied)} of {where} with tied votes, given the class that stands first in data.classes"
        problems += _left_out("tied votes", text, tied)
    given = dict(zip(data.votes or [], names.T, strict=True))
    return Labels(np.where(none, "", majority), classes, soft, problems=problems, votes=given)


def _check_votes(votes: npt.NDArray[np.object_], elected: set[str], experts: list[str], where: str) -> None:
    """Without data.classes every vote is a class, and one that no row has by majority a slip, or a table of counts."""
    strange = ~np.isin(votes, [*elected, ""])
    if strange.any():
        row, column = np.argwhere(strange)[0]
        raise UserError(
            f"Expected a class name in each cell of data.votes, one column an expert, got {votes[row, column]!r} in "
            f"row {row + 1}, column {experts[column]!r} of {where}, which no row is by majority; correct it, list the "
            "classes in data.classes, or give shares with data.probabilities"
        )


def _from_probabilities(frame: pd.DataFrame, data: Data, where: str) -> Labels:
    wanted = data.probabilities or {}
    names = tuple(data.classes) if isinstance(data.classes, list) else tuple(wanted)
    if set(names) != set(wanted):
        raise UserError(
            f"Expected the same classes in data.classes and data.probabilities, got {list(names)} and {list(wanted)}"
        )
    texts = np.stack(
        [columns.column(frame, wanted[name], where, "data.probabilities").to_numpy() for name in names], axis=1
    )
    soft = pd.DataFrame(texts).apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    total = soft.sum(axis=1)
    wrong = ~(np.isfinite(soft).all(axis=1) & (soft >= 0).all(axis=1) & (np.abs(total - 1) <= SUM_TOLERANCE))
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"Expected class probabilities of at least 0 that sum to 1 in {where}, got {texts[row].tolist()} in row "
            f"{row + 1} ({wrong.sum()} such rows); correct the table or data.probabilities"
        )
    soft = soft / total[:, None]
    return Labels(np.array(names, dtype=object)[soft.argmax(axis=1)], names, soft)


def _rows(which: npt.NDArray[np.bool_]) -> str:
    return f"{which.sum()} row{'' if which.sum() == 1 else 's'}"


def _left_out(kind: str, message: str, rows: npt.NDArray[np.bool_]) -> list[Problem]:
    shown = tuple(f"row {n + 1}" for n in np.flatnonzero(rows))
    return [Problem(kind, message, shown)] if shown else []

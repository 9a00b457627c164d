"""Divisions that decoded stages show in tracks, beside those that a tracker found (btrack's CSV set).

A recording's tracks are `tracks.csv` (ID, t), `properties.csv` (state, root; row by row beside the tracks) and
`graph.json` (child -> [parent]). A line of descent joins a track, one daughter, one of hers and so on; every track is
in exactly one line and every division within one, where mother and daughter join. The states are a network's answers
without probabilities; a decoder is learned from the number of divisions of each line alone, never from when they happen
(`weak`): the network's confusions are what is trained in turn with the alignment.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.config.decoding import Decode, Transcripts
from cellml.errors import UserError
from cellml.evaluation import segments
from cellml.sequences import weak
from cellml.sequences.decode import decode_all

STATES = ("interphase", "prometaphase", "metaphase", "anaphase", "apoptosis")
INTERPHASE, PROMETAPHASE, METAPHASE, ANAPHASE, APOPTOSIS = range(5)
_COLUMNS = {"tracks.csv": ("ID", "t"), "properties.csv": ("state", "root")}
_FOLDS = 2
_WEIGHT = 0.5  # of a frame's state: wrong ones come in runs
_DOUBT = 0.2  # share of wrong states that learning starts from


@dataclass(frozen=True)
class Line:
    """A line of descent, T frames.

    Attributes:
        name: the ID of its first track.
        family: the ID of the root of its family.
        times: (T,) frame of the recording.
        states: (T,) class index of `STATES`.
        divisions: frames of the recording at which its daughters begin.
        born: whether it begins with a division, as a second daughter.
    """

    name: str
    family: str
    times: npt.NDArray[np.int64]
    states: npt.NDArray[np.int64]
    divisions: tuple[int, ...]
    born: bool


def read(folder: Path) -> list[Line]:
    """The lines of descent of a recording; at a division the daughter that is seen longer goes on with the line.

    Raises:
        UserError: a file or column is missing, files that do not fit each other, an unknown state or track.
    """
    tables = [_table(folder / name, columns) for name, columns in _COLUMNS.items()]
    if len(tables[0]) != len(tables[1]):
        raise UserError(
            f"Expected a row of properties.csv for each row of tracks.csv, got {len(tables[1])} and {len(tables[0])} "
            f"in {folder}; export both anew"
        )
    rows = pd.DataFrame(
        {"track": tables[0]["ID"], "t": tables[0]["t"], "state": tables[1]["state"], "root": tables[1]["root"]}
    ).astype(np.int64)
    wrong = rows.index[~rows["state"].between(0, len(STATES) - 1)]
    if len(wrong):
        raise UserError(
            f"Expected states 0 to {len(STATES) - 1} in {folder / 'properties.csv'}, got {rows['state'][wrong[0]]} in "
            f"line {wrong[0] + 2}; leave that row out of both tables"
        )
    tracks = {int(own["track"].iloc[0]): own.sort_values("t") for _, own in rows.groupby("track")}
    parents = _parents(folder / "graph.json", set(tracks))
    frames = {track: len(own) for track, own in tracks.items()}
    heirs: dict[int, int] = {}
    for child, parent in sorted(parents.items(), key=lambda pair: (frames[pair[0]], pair[0])):
        heirs[parent] = child  # the longest comes last
    lines = []
    for track in sorted(set(tracks) - set(heirs.values())):
        line = [track]
        while line[-1] in heirs:
            line.append(heirs[line[-1]])
        parts = [tracks[one] for one in line]
        joined = pd.concat(parts)
        begun = tuple(int(part["t"].iloc[0]) for part in parts[1:])
        times, states = joined["t"].to_numpy(np.int64), joined["state"].to_numpy(np.int64)
        lines.append(Line(str(track), str(parts[0]["root"].iloc[0]), times, states, begun, track in parents))
    return lines


def entries(line: Line, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Frames of the recording at which (T,) stages of a line go over to anaphase."""
    return line.times[1:][(labels[1:] == ANAPHASE) & (labels[:-1] != ANAPHASE)]


def agreement(lines: Sequence[Line], labels: Sequence[npt.NDArray[np.int64]], tolerance: int = 3) -> dict[str, float]:
    """How well entries into anaphase agree with the tracker's divisions.

    Args:
        lines: the lines of descent.
        labels: (T,) stages of each.
        tolerance: frames that an entry may be away from its division.

    Returns:
        `divisions`, `entries`, `agreed` (pairs within the tolerance, at the least total distance), `recall`,
        `precision`, `f1`, and `error`, the mean distance in frames of the agreed ones; NaN where nothing defines it.
    """
    away: list[int] = []
    found = 0
    for line, own in zip(lines, labels, strict=True):
        said, true = entries(line, own), np.array(line.divisions, dtype=np.int64)
        found += len(said)
        gap = np.abs(said[:, None] - true[None, :])
        mine, theirs = segments.matched(said, true, tolerance)
        away += gap[mine, theirs].tolist()
    wanted = sum(len(line.divisions) for line in lines)
    recall, precision = _share(len(away), wanted), _share(len(away), found)
    return {
        "divisions": wanted,
        "entries": found,
        "agreed": len(away),
        "recall": recall,
        "precision": precision,
        "f1": _share(2 * len(away), wanted + found),
        "error": float(np.mean(away)) if away else float("nan"),
    }


def decoded(lines: Sequence[Line], decode: Decode, settings: Transcripts, seed: int = 0) -> list[npt.NDArray[np.int64]]:
    """The stages of every line, by a decoder that was learned from the families of the other half.

    Args:
        lines: the lines of descent.
        decode: of the lengths.
        settings: of learning from the numbers of divisions.
        seed: of the halves.

    Returns:
        (T,) stages of each line.
    """
    families = sorted({line.family for line in lines})
    order = np.random.default_rng(seed).permutation(len(families))
    half = {families[place]: i % _FOLDS for i, place in enumerate(order)}
    found: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)] * len(lines)
    for fold in range(_FOLDS):
        test = [n for n, line in enumerate(lines) if half[line.family] == fold]
        confusions, decoder = _learned([line for line in lines if half[line.family] != fold], decode, settings)
        for n, labels in zip(test, decode_all([confusions[:, lines[n].states].T for n in test], decoder), strict=True):
            found[n] = labels
    return found


def table(folder: Path, tolerance: int = 3, seed: int = 0) -> pd.DataFrame:
    """Agreement of a recording's entries into anaphase with its tracker's divisions, before and after decoding.

    Args:
        folder: of tracks.csv, properties.csv and graph.json.
        tolerance: frames.
        seed: of the halves of families.

    Returns:
        a row for each way to read the states: `states` as they are, `smoothed` by the most frequent of five frames,
        and `decoded`; columns `way` and those of `agreement`.

    Raises:
        UserError: as `read`.
    """
    lines = read(folder)
    skipped = ["prometaphase", "metaphase", "apoptosis"]
    decode = Decode(grammar="transcripts", lengths="histogram", optional=skipped, weight=_WEIGHT)
    ways = {
        "states": [line.states for line in lines],
        "smoothed": [_smoothed(line.states) for line in lines],
        "decoded": decoded(lines, decode, Transcripts(), seed),
    }
    return pd.DataFrame([{"way": way} | agreement(lines, labels, tolerance) for way, labels in ways.items()])


def _learned(lines: Sequence[Line], decode: Decode, settings: Transcripts) -> tuple[npt.NDArray, weak.Decoder]:
    """log p(state | stage), (K, states), and the decoder learned with it; the first alignment trusts the states."""
    count = len(STATES)
    confusions = np.log((1 - _DOUBT) * np.eye(count) + _DOUBT / count)

    def said() -> list[npt.NDArray]:
        return [confusions[:, line.states].T for line in lines]

    def train(labels: list[npt.NDArray[np.int64]]) -> list[npt.NDArray]:
        nonlocal confusions
        joint = np.full((count, count), 1 / count)  # a pseudo-count a stage
        for line, own in zip(lines, labels, strict=True):
            np.add.at(joint, (own, line.states), 1)
        confusions = np.log(joint / joint.sum(axis=1, keepdims=True))
        return said()

    stages = {line.name: transcript(line) for line in lines}
    lines = [line for line in lines if len(stages[line.name]) <= len(line.states)]
    state = weak.start({line.name: stages[line.name] for line in lines}, _frames(lines), count, np.ones(count))
    optional = [STATES.index(name) for name in decode.optional]
    anyhow = decode.model_copy(update={"lengths": "none"})  # evenly divided cycles say nothing of lengths
    state = weak.step(state, said(), anyhow, settings.model_copy(update={"momentum": 0.0}), optional, fixed=True)
    _, decoder = weak.learn(state, train, STATES, decode, settings, fixed=True)
    return confusions, decoder


def transcript(line: Line) -> tuple[int, ...]:
    """The stages that a line's number of divisions tells: anaphase where it is born, each cycle, what may end it."""
    cycle = (PROMETAPHASE, METAPHASE, ANAPHASE, INTERPHASE)
    end = (PROMETAPHASE, METAPHASE, APOPTOSIS)
    return ((ANAPHASE,) if line.born else ()) + (INTERPHASE,) + cycle * len(line.divisions) + end


def _smoothed(states: npt.NDArray[np.int64], width: int = 5) -> npt.NDArray[np.int64]:
    """The most frequent state of so many frames around each; of equally frequent ones the first in class order."""
    votes = np.eye(len(STATES), dtype=np.int64)[states]
    padded = np.pad(votes, ((width // 2, width // 2), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=0).sum(axis=2).argmax(axis=1)


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"Expected {path.name} of a btrack recording, found none in {path.parent}; give its folder")
    table = pd.read_csv(path)
    for name in columns:
        if name not in table:
            raise UserError(f"Expected column {name!r} in {path}, found {list(table.columns)}; export the tracks anew")
    return table


def _parents(path: Path, tracks: set[int]) -> dict[int, int]:
    if not path.is_file():
        raise UserError(f"Expected {path.name} of a btrack recording, found none in {path.parent}; give its folder")
    found = {}
    for child, parents in json.loads(path.read_text(encoding="utf-8")).items():
        for track in (int(child), *map(int, parents)):
            if track not in tracks:
                raise UserError(f"Expected tracks of tracks.csv in {path}, got {track}; leave it out of the graph")
        found[int(child)] = int(parents[0])
    return found


def _frames(lines: Sequence[Line]) -> dict[str, int]:
    return {line.name: len(line.states) for line in lines}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")

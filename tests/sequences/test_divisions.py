import json

import numpy as np
import pandas as pd
import pytest

from cellml.config.decoding import Decode, Transcripts
from cellml.errors import UserError
from cellml.evaluation import segments
from cellml.sequences import divisions
from cellml.sequences.decode import transcript

STAGES = (0, 1, 2, 3)


def recording(folder, families=24, noise=0.03, seed=0):
    """Families of mother, two daughters and, of one, two granddaughters; states with flicker; in btrack's files."""
    rng = np.random.default_rng(seed)
    rows, graph, truth, track = [], {}, [], 0
    for _ in range(families):
        root, waiting = track + 1, [(0, None, 0)]
        while waiting:
            begun, parent, depth = waiting.pop(0)
            track += 1
            divides = depth < 2 and not (depth == 1 and waiting)
            lengths = [5 * (parent is not None), int(rng.integers(20, 40)), *([3, 4] if divides else [0, 0])]
            states = np.repeat([3, 0, 1, 2], lengths)
            flicker = rng.random(len(states)) < noise
            states = np.where(flicker, rng.integers(0, 4, len(states)), states)
            rows += [(track, begun + i, state, root) for i, state in enumerate(states)]
            if parent is not None:
                graph[str(track)] = [parent]
            if divides:
                truth.append(begun + len(states))
                waiting += [(begun + len(states), track, depth + 1)] * 2
    table = pd.DataFrame(rows, columns=["ID", "t", "state", "root"])
    folder.mkdir(exist_ok=True)
    table[["ID", "t"]].astype(float).to_csv(folder / "tracks.csv", index=False)
    table[["t", "state", "root"]].to_csv(folder / "properties.csv", index=False)
    (folder / "graph.json").write_text(json.dumps(graph))
    return truth


def test_every_track_and_division_is_in_one_line(tmp_path):
    truth = recording(tmp_path / "r")
    lines = divisions.read(tmp_path / "r")
    assert sum(len(line.times) for line in lines) == len(pd.read_csv(tmp_path / "r" / "tracks.csv"))
    assert sorted(t for line in lines for t in line.divisions) == sorted(truth)
    assert sum(line.born for line in lines) == len(truth)
    assert len({line.family for line in lines}) == 24
    assert all((np.diff(line.times) == 1).all() for line in lines)


def test_a_line_goes_on_with_the_daughter_that_is_seen_longer(tmp_path):
    rows = [(1, 0), (1, 1), (2, 2), (3, 2), (3, 3), (4, 4), (5, 4), (5, 5)]
    pd.DataFrame(rows, columns=["ID", "t"]).to_csv(tmp_path / "tracks.csv", index=False)
    states = [0, 2, 3, 3, 0, 0, 0, 1]
    pd.DataFrame({"state": states, "root": 1}).to_csv(tmp_path / "properties.csv", index=False)
    (tmp_path / "graph.json").write_text(json.dumps({"2": [1], "3": [1], "4": [3], "5": [3]}))
    lines = {line.name: line for line in divisions.read(tmp_path)}
    assert {name: line.times.tolist() for name, line in lines.items()} == {"1": [0, 1, 2, 3, 4, 5], "2": [2], "4": [4]}
    assert lines["1"].divisions == (2, 4)
    assert lines["1"].states.tolist() == [0, 2, 3, 0, 0, 1]
    assert (lines["1"].born, lines["2"].born) == (False, True)
    assert divisions.entries(lines["1"], lines["1"].states).tolist() == [2]
    assert divisions.transcript(lines["1"]) == transcript([0, *[1, 2, 3, 0] * 2, 1, 2, 4])
    assert divisions.transcript(lines["2"]) == (3, 0, 1, 2, 4)


def line(true, said):
    labels = np.zeros(60, dtype=np.int64)
    labels[said] = 3
    return divisions.Line("1", "1", np.arange(100, 160), labels, tuple(100 + t for t in true), False), labels


def test_agreement_pairs_within_the_tolerance():
    made = [line([10, 30, 50], [11, 14, 33, 56]), line([20], [])]
    found = divisions.agreement([one for one, _ in made], [labels for _, labels in made])
    right = {"divisions": 4, "entries": 4, "agreed": 2, "recall": 0.5, "precision": 0.5, "f1": 0.5, "error": 2}
    assert found == right
    assert divisions.agreement([made[0][0]], [made[0][1]], tolerance=6)["agreed"] == 3
    assert np.isnan(divisions.agreement([made[1][0]], [made[1][1]])["precision"])


def test_as_many_points_as_possible_are_paired_within_a_distance():
    a, b = np.array([3, 6, 9]), np.array([0, 3, 6])
    assert [pairs.tolist() for pairs in segments.matched(a, b, 3)] == [[0, 1, 2], [0, 1, 2]]
    assert [pairs.tolist() for pairs in segments.matched(a, b, 2)] == [[0, 1], [1, 2]]
    assert [pairs.tolist() for pairs in segments.matched(a, np.empty(0), 2)] == [[], []]


def test_decoding_learned_from_counts_of_divisions_finds_when_they_are(tmp_path):
    truth = recording(tmp_path / "r")
    found = divisions.table(tmp_path / "r").set_index("way")
    assert found.loc["states", "divisions"] == len(truth)
    assert found.loc["states", "f1"] < 0.8 < found.loc["smoothed", "f1"] < found.loc["decoded", "f1"]
    assert found.loc["decoded", "f1"] > 0.95


def test_a_family_is_decoded_by_what_the_other_half_taught(tmp_path, monkeypatch):
    recording(tmp_path / "r", families=6)
    lines, seen = divisions.read(tmp_path / "r"), []
    learned = divisions._learned
    monkeypatch.setattr(divisions, "_learned", lambda own, *rest: seen.append(own) or learned(own, *rest))
    decode = Decode(optional=["prometaphase", "metaphase", "apoptosis"])
    labels = divisions.decoded(lines, decode, Transcripts(rounds=2))
    halves = [{one.family for one in own} for own in seen]
    assert [len(half) for half in halves] == [3, 3]
    assert not halves[0] & halves[1]
    assert [len(own) for own in labels] == [len(one.states) for one in lines]


def spoilt(folder, what):
    recording(folder, families=1)
    table = pd.read_csv(folder / "properties.csv")
    if what == "missing":
        (folder / "graph.json").unlink()
    elif what == "column":
        table.drop(columns="root").to_csv(folder / "properties.csv", index=False)
    elif what == "rows":
        table[:-1].to_csv(folder / "properties.csv", index=False)
    elif what == "state":
        table.assign(state=table["state"].where(table.index != 2, 7)).to_csv(folder / "properties.csv", index=False)
    elif what == "track":
        (folder / "graph.json").write_text(json.dumps({"2": [99]}))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "Expected graph.json of a btrack recording, found none"),
        ("column", "Expected column 'root' in .*properties.csv"),
        ("rows", "a row of properties.csv for each row of tracks.csv"),
        ("state", "states 0 to 4 in .*properties.csv, got 7 in line 4"),
        ("track", "tracks of tracks.csv in .*graph.json, got 99"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(tmp_path, what, message):
    spoilt(tmp_path / "r", what)
    with pytest.raises(UserError, match=message):
        divisions.read(tmp_path / "r")


def test_the_recording_of_mdck_cells(real_data):
    lines = divisions.read(real_data / "mdck-tracks")
    graph = json.loads((real_data / "mdck-tracks" / "graph.json").read_text())
    assert sum(len(one.divisions) for one in lines) == len({parents[0] for parents in graph.values()}) == 110
    plain = divisions.agreement(lines, [one.states for one in lines])
    assert (plain["entries"], plain["agreed"]) == (240, 106)


@pytest.mark.slow
def test_decoding_the_recording_of_mdck_cells_agrees_better(real_data):
    found = divisions.table(real_data / "mdck-tracks").set_index("way")["f1"]
    assert found["states"] < 0.65
    assert found["decoded"] > found["smoothed"] + 0.03

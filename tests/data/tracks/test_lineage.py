import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellml.data.tracks import lineage
from cellml.errors import UserError


def table(rows):
    """Rows (track, frame, parent) of one movie."""
    found = pd.DataFrame(rows, columns=["track", "frame", "parent"]).astype({"track": object, "parent": object})
    found["movie"], found["x"], found["y"], found["label"] = "m", 2.0 * found["frame"], 5.0, "a"
    return found.assign(line=[f"line {n + 2}" for n in range(len(found))])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_families_are_the_connected_parts_of_groups_and_lineages(data):
    sequences = data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=30))
    mother = data.draw(st.lists(st.integers(-1, 9), min_size=9, max_size=9))
    groups = data.draw(st.lists(st.integers(0, 5), min_size=len(sequences), max_size=len(sequences)))
    found = lineage.families(
        [f"s{s}" for s in sequences], [f"s{mother[s]}" if mother[s] >= 0 else "" for s in sequences], groups
    )
    parts = [{n} for n in range(len(sequences))]  # brute force: join what shares a group, a sequence or a mother
    for a in range(len(sequences)):
        for b in range(a):
            if (
                groups[a] == groups[b]
                or sequences[a] == sequences[b]
                or mother[sequences[a]] == sequences[b]
                or mother[sequences[b]] == sequences[a]
            ):
                one, other = (next(p for p in parts if n in p) for n in (a, b))
                if one is not other:
                    one |= other
                    parts.remove(other)
    assert {frozenset(np.flatnonzero(found == k).tolist()) for k in set(found)} == {frozenset(p) for p in parts}


def test_sisters_stay_together_without_their_mothers_rows():
    assert len(set(lineage.families(["a", "b"], ["m", "m"], ["x", "y"]))) == 2
    assert len(set(lineage.families(["a", "b", "m"], ["m", "m", ""], ["x", "y", "z"]))) == 1


def test_roots_go_back_over_generations():
    rows = [("1", 0, ""), ("1", 1, ""), ("2", 2, "1"), ("2", 3, "1"), ("3", 2, "1"), ("4", 4, "2"), ("9", 0, "")]
    assert lineage.roots(table(rows), "t.csv").tolist() == ["1"] * 6 + ["9"]


def test_a_parent_that_is_not_there_or_too_late_is_named_with_its_line():
    with pytest.raises(UserError, match=r"track 7 as parent of track 2 in t.csv, line 3, found none"):
        lineage.roots(table([("1", 0, ""), ("2", 1, "7")]), "t.csv")
    with pytest.raises(UserError, match=r"t.csv, line 4: track 1 ends in frame 1, 2 starts in 1"):
        lineage.roots(table([("1", 0, ""), ("1", 1, ""), ("2", 1, "1")]), "t.csv")


def test_gaps_are_an_error_or_filled_on_a_line():
    rows = table([("1", 0, ""), ("1", 4, ""), ("1", 1, ""), ("2", 3, ""), ("2", 4, "")])
    with pytest.raises(UserError, match=r"track 1 in every frame .* frame 2 is missing between line 4 and line 3"):
        lineage.gaps(rows, False, "t.csv")
    rows.loc[rows["frame"] == 4, "x"] = 20.0
    found = lineage.gaps(rows, True, "t.csv")
    assert found["frame"].tolist() == [0, 1, 2, 3, 4, 3, 4]
    np.testing.assert_allclose(found["x"], [0, 2, 8, 14, 20, 6, 20])
    assert found["label"].tolist() == ["a", "a", "", "", "a", "a", "a"]
    with pytest.raises(UserError, match="frame 3 of track 2 again in line 3"):
        lineage.gaps(table([("2", 3, ""), ("2", 3, "")]), True, "t.csv")


def test_whole_tracks_are_only_put_in_order():
    found = lineage.gaps(table([("2", 4, ""), ("1", 0, ""), ("2", 3, "")]), False, "t.csv")
    assert list(zip(found["track"], found["frame"], strict=True)) == [("1", 0), ("2", 3), ("2", 4)]

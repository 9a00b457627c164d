import numpy as np
import pandas as pd
import pytest

from cellml.evaluation import segments, stages
from tests.evaluation.test_segments import of, random

TRUE, SAID = [-1, 0, 0, 1, 1, 1, 2], [2, 0, 1, 1, 1, 0, 1]


def test_durations_are_every_segments_frames():
    table = stages.durations(of([(TRUE, SAID)]))
    mine = table[["of", "stage", "start", "frames", "cut"]].values.tolist()
    assert mine == [
        ["true", "a", 1, 2, True],
        ["true", "b", 3, 3, False],
        ["true", "c", 6, 1, True],
        ["predicted", "a", 1, 1, True],
        ["predicted", "b", 2, 3, False],
        ["predicted", "a", 5, 1, False],
        ["predicted", "b", 6, 1, True],
    ]
    assert set(table["sequence"]) == {"cell 0"}


def test_the_summary_describes_the_segments_that_no_end_cuts():
    p = random(3, 4, cells=40)
    table = stages.durations(p)
    found = stages.summary(table, p.classes)
    assert len(found) == 6
    for row in found.itertuples():
        mine = table[(table["stage"] == row.stage) & (table["of"] == row.of)]
        whole = mine["frames"][~mine["cut"]].to_numpy()
        assert (row.segments, row.cut) == (len(whole), mine["cut"].sum())
        right = [whole.mean(), whole.std(ddof=1), *np.percentile(whole, [10, 50, 90])] if len(whole) else [np.nan] * 5
        assert [row.mean, row.sd, row.p10, row.median, row.p90] == pytest.approx(right, nan_ok=True)


def test_transitions_add_up_to_the_metrics():
    p = random(4, 4, cells=30)
    table, figures = stages.transitions(p), segments.compute(p)
    found = table["found"].sum()
    assert (table["error"] * table["found"]).sum() / found == pytest.approx(figures["transition_error_found"])
    assert table["missed"].sum() / table["true"].sum() == pytest.approx(figures["transitions_missed"])
    assert table["spurious"].sum() / table["predicted"].sum() == pytest.approx(figures["transitions_spurious"])
    assert table["true"].is_monotonic_decreasing


def test_the_bias_of_a_transition_is_late_or_early():
    table = stages.transitions(of([([0, 0, 1, 1, 1], [0, 0, 0, 0, 1]), ([0, 0, 0, 1], [0, 1, 1, 1])]))
    assert table.to_dict("records") == [
        {
            "from": "a",
            "to": "b",
            "true": 2,
            "predicted": 2,
            "found": 2,
            "missed": 0,
            "spurious": 0,
            "error": 2,
            "bias": 0,
        }
    ]


def test_sequences_that_cannot_be_scored_have_empty_tables():
    p = of([([0, -1, 0], [0, 0, 0])])
    assert stages.durations(p).empty
    assert stages.transitions(p).empty
    assert stages.summary(stages.durations(p), p.classes)["segments"].tolist() == [0] * 6
    assert isinstance(stages.transitions(p), pd.DataFrame)

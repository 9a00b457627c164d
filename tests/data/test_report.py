import json

from cellml.data import checks, report
from cellml.data.problems import Problem
from cellml.data.report import Report


def example():
    return Report(
        problems=[
            Problem("identical images", "twice", ("a", "b")),
            Problem("unreadable", "broken", ("c",)),
            Problem("group across splits", "leak", ("d", "e")),
            Problem("class absent from training", "nothing to learn"),
        ],
        digest="0" * 32,
        counts={"train": {"x": 1200, "y": 1}, "test": {"x": 1, "y": 0}},
        groups={"train": 3, "test": 1},
        grouped=True,
        identical=[("a", "b")],
        similar=[("a", "c", 0.98765)],
    )


def test_problems_are_sorted_by_how_bad_they_are():
    found = example()
    assert [p.message for p in found.errors] == ["nothing to learn"]
    assert [p.message for p in found.warnings] == ["leak", "broken"]
    assert [p.message for p in found.notes] == ["twice"]
    assert report.severity(Problem("some new kind", "")) == report.WARNING


def test_lines_show_counts_and_then_the_worst_first():
    assert example().lines() == [
        "train: 1,201 images in 3 groups (x 1,200, y 1)",
        "test: 1 image in 1 group (x 1, y 0)",
        "error: nothing to learn",
        "warning: leak",
        "warning: broken",
        "note: twice",
    ]


def test_many_problems_of_a_kind_are_cut_short_and_counted():
    problems = [Problem("unreadable", f"file {n}", (str(n),)) for n in range(9)] + [Problem("odd", "other")]
    lines = Report(problems=problems).lines()
    assert lines[:5] == [f"warning: file {n}" for n in range(5)]
    assert lines[5:] == ["warning: 4 more of the kind 'unreadable'", "warning: other"]
    assert Report(problems=problems[:5]).lines()[-1] == "warning: file 4"


def test_the_dictionary_is_json_with_every_problem():
    tree = example().to_dict()
    assert json.loads(json.dumps(tree)) == tree
    assert tree["images"] == 1202
    assert tree["splits"]["train"] == {"groups": 3, "classes": {"x": 1200, "y": 1}}
    assert [p["severity"] for p in tree["problems"]] == ["error", "warning", "warning", "note"]
    assert tree["problems"][1]["ids"] == ["d", "e"]
    assert tree["near_duplicates"] == [{"ids": ["a", "c"], "correlation": 0.9877}]


def test_checks_hands_out_the_report():
    assert checks.Report is Report

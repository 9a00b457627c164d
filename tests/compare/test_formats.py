import dataclasses
import io
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from cellml.compare import formats, latex, table
from cellml.config import Compare
from tests.compare.conftest import NASTY, elsewhere, evaluated, manifest

SETTINGS = Compare(resamples=100)


@pytest.fixture
def built(models, test_rows, train_counts):
    return table.build(models, test_rows, train_counts, SETTINGS)


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_csv_keeps_every_column_and_digit(built, tmp_path):
    formats.write_csv(built, tmp_path / "table.csv")
    back = pd.read_csv(tmp_path / "table.csv", dtype={"version": str, "run_id": str})
    assert list(back.columns) == list(built.columns)
    assert back["recall_" + NASTY[1]].to_numpy() == pytest.approx(built["recall_" + NASTY[1]].to_numpy(), abs=0)
    assert back["rank"].isna().tolist() == [False] * 4 + [True]


def test_markdown_rows_have_as_many_cells_as_the_head(built):
    lines = [line for line in formats.to_markdown(built).splitlines() if line.startswith("|")]
    assert {len(cells(line)) for line in lines} == {len(cells(lines[0]))}
    assert len(lines) == 2 + len(built)
    assert cells(lines[2])[:2] == ["1", "cells.vit_tiny v1"]
    assert cells(lines[2])[4] == formats.interval(built.iloc[0])


def test_markdown_escapes_what_would_be_markup():
    test = manifest(("a", "<i>|*b*"))
    built = table.build([evaluated(test, "net_x", 1)], test, {"a": 1, "<i>|*b*": 1}, SETTINGS)
    text = formats.to_markdown(built)
    assert r"recall &lt;i&gt;\|\*b\*" in text
    assert "<i>" not in text
    assert "net_x" in text


def test_markdown_under_a_limit_keeps_the_best_and_the_baseline(train_counts, test_rows):
    many = [evaluated(test_rows, f"backbone_with_a_long_name_{i}", 2 - i / 20, seed=i) for i in range(40)]
    built = table.build(many, test_rows, train_counts, SETTINGS)
    short = formats.to_markdown(built, limit=2000)
    whole = formats.to_markdown(built)
    assert len(short) <= 2000 < len(whole)
    rows = [line for line in short.splitlines() if line.startswith("|")][2:]
    assert rows[:-1] == whole.splitlines()[2 : 1 + len(rows)]
    assert "majority class" in rows[-1]
    assert f"{41 - len(rows)} more models" in short


def test_columns_that_hold_something_follow_in_the_files_but_not_in_the_terminal(models, test_rows, train_counts):
    plain = formats.to_markdown(table.build(models, test_rows, train_counts, SETTINGS))
    assert "threshold" not in plain
    tuned = dataclasses.replace(models[1], thresholds=dict.fromkeys(NASTY, 0.25))
    built = table.build([models[0], tuned], test_rows, train_counts, SETTINGS)
    assert [key for key, _ in formats.further(built)] == [c for c in built.columns if c.endswith("_thresholded")]
    lines = [cells(line) for line in formats.to_markdown(built).splitlines() if line.startswith("|")]
    column = lines[0].index("bal. accuracy at thresholds")
    assert [line[column] for line in lines[2:]] == [formats.number(built["balanced_accuracy"][0]), "", ""]
    assert "bal. accuracy at thresholds" in latex.render(built)
    assert not [column for column in formats.render(built).columns if "threshold" in str(column.header)]


@pytest.mark.parametrize("width", [80, 150])
def test_terminal_never_breaks_a_number(built, width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(formats.render(built))
    text = console.export_text()
    for row in built.to_dict("records"):
        assert formats.interval(row) in text
    assert "(a) identical predictions" in " ".join(text.split())


def test_terminal_shows_square_brackets_and_markup_as_text():
    test = manifest(("a", "[b]"))
    built = table.build([evaluated(test, "net", 1)], test, {"a": 1, "[b]": 1}, SETTINGS)
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(formats.render(built))
    assert "[b]" in console.export_text()


def test_a_collapsed_model_is_noted(test_rows, train_counts):
    one = evaluated(test_rows, "stuck", 0)
    one.predictions.probabilities[:] = np.eye(4)[1] * 0.7 + 0.075
    built = table.build([one], test_rows, train_counts, SETTINGS)
    assert formats.note(built.iloc[0], built) == f"always {NASTY[1]}"
    assert formats.note(built.iloc[1], built) == ""


@pytest.mark.parametrize(("p", "shown"), [(0.0004, "<0.001"), (0.001, "0.001"), (1.0, "1.000"), (float("nan"), "")])
def test_significance(p, shown):
    assert formats.significance(p) == shown


def test_no_negative_zero():
    assert formats.number(-0.0001) == "0.000"


def test_short_tables_show_the_first_methods_main_scores_and_the_terminal_none(models, test_rows, train_counts):
    scores = {"gradcam_deletion": 0.125, "gradcam_insertion": 0.75, "gradcam_background": 0.5, "lime_deletion": 0.375}
    built = table.build(models, test_rows, train_counts, SETTINGS, {models[0].name: scores})
    markdown = formats.to_markdown(built)
    assert "gradcam deletion | gradcam insertion" in markdown
    assert "0.125 | 0.750" in markdown
    assert "background" not in markdown
    assert "lime" not in markdown
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(formats.render(built))
    assert "gradcam" not in console.export_text()


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0498, "0.0498"), (0.0502, "0.0502 ~"), (0.05, "0.0500 ~"), (0.2, "0.200 ~"), (0.01, "0.010")]
)
def test_a_corrected_p_beside_its_limit_shows_on_which_side_it_lies(p, shown):
    assert formats.corrected({"p_holm": p}) == shown
    assert formats.corrected({"p_holm": float("nan")}) == ""


def test_entries_that_cannot_be_told_from_the_best_are_marked_everywhere(test_rows, train_counts):
    models = [evaluated(test_rows, f"net{i}", skill, seed=i) for i, skill in enumerate((3, 2.9, 0))]
    built = table.build(models, test_rows, train_counts, SETTINGS)
    alike = [row["p_holm"] >= 0.05 for row in built.to_dict("records")]
    assert alike == [False, True, False, False]
    lines = [cells(line) for line in formats.to_markdown(built).splitlines() if line.startswith("|")]
    column = lines[0].index("p Holm")
    assert [line[column].endswith(r" \~") for line in lines[2:]] == alike
    assert r"\textasciitilde{}" in latex.render(built)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(formats.render(built))
    text = console.export_text()
    assert text.count(" ~") == 1
    assert "~ cannot be told from the best" in text
    apart = table.build([models[0], models[2]], test_rows, train_counts, SETTINGS)
    assert "cannot be told" not in formats.to_markdown(apart)


def test_experts_are_a_line_under_the_table(test_rows, train_counts):
    rows = test_rows
    for expert, wrong in (("ann", 5), ("bob", 9), ("cy", 14)):
        said = [NASTY[(t + 1) % 4] if i % wrong == 0 else NASTY[t] for i, t in enumerate(rows.targets)]
        rows = rows.with_column(f"votes:{expert}", said)
    text = formats.to_markdown(table.build([evaluated(rows, "net", 1)], rows, train_counts, SETTINGS))
    assert re.search(r"against the majority of the others: ann 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\], bob 0", text)
    assert "their own vote counted: ann 0." in text
    assert "xperts" not in formats.to_markdown(
        table.build([evaluated(test_rows, "n", 1)], test_rows, train_counts, SETTINGS)
    )


@pytest.mark.parametrize(("name", "width"), [("there", 80), ("there-and-back", 100)])
def test_an_external_set_has_two_columns_in_the_files_and_one_in_the_terminal(
    models, test_rows, train_counts, name, width
):
    external, models = elsewhere(models, name)
    built = table.build(models, test_rows, train_counts, SETTINGS, externals=[external])
    lines = [cells(line) for line in formats.to_markdown(built).splitlines() if line.startswith("|")]
    score, area = (lines[0].index(f"{name} {head}") for head in ("bal. accuracy [95 %]", "AUROC"))
    assert [line[score] for line in lines[2:]] == [
        formats.interval(row, f"{name}_balanced_accuracy") for row in built.to_dict("records")
    ]
    assert [line[area] for line in lines[2:]] == [formats.number(v) for v in built[f"{name}_auroc"]]
    assert f"60 test images from elsewhere, digest {external.manifest.digest}" in formats.to_markdown(built)
    assert not [key for key, _ in formats.further(built) if key.startswith("there")]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(formats.render(built))
    text = console.export_text()
    assert all(formats.interval(row) in text for row in built.to_dict("records"))
    assert all(formats.number(v) in text for v in built[f"{name}_balanced_accuracy"])
    assert formats.interval(built.iloc[0], f"{name}_balanced_accuracy") not in text


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([("ami.r18", 3, "balanced"), ("ami.vit.b", 1, "balanced")], ["r18 v3", "vit.b v1"]),
        ([("ami.r18", 3, "balanced"), ("ami.r18", 4, "none")], ["r18 v3, balanced", "r18 v4, none"]),
        ([("ami.r18", 3, "none"), ("bccd.r18", 1, "none"), ("forest", 0, "")], ["ami.r18 v3", "bccd.r18 v1", "forest"]),
        ([("a.r18", 3, "none"), ("majority", 0, "")], ["a.r18 v3, none", "majority"]),
        ([("ensemble", 1, "mean"), ("ensemble", 2, "mean")], ["ensemble v1", "ensemble v2"]),
    ],
)
def test_figures_leave_out_of_names_what_all_models_share(rows, shown):
    keys = ("model", "version", "strategy", "settings")
    assert formats.titles([dict(zip(keys, (*row, ""), strict=True)) for row in rows]) == shown


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ("", ""),
        ("sequence.supervision=frames", "supervision=frames"),
        ("data.classes=['a', 'b'], train.lr=0.1, train.name=x.y, z.q=1", "classes=['a', 'b'], lr=0.1 and 2 more"),
    ],
)
def test_settings_are_shown_by_their_last_names(settings, shown):
    assert formats.shortened(settings) == shown

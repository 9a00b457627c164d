"""Figures over time of several models, against the metrics of each alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from cellml.compare import cells, report, sequences, table
from cellml.config import Compare
from cellml.evaluation import segments
from tests.compare.conftest import evaluated, manifest

QUICK = Compare(resamples=200)


@pytest.fixture
def films():
    """120 frames of twelve cells in four groups."""
    test = manifest(("a", "b", "c"), groups=4)
    own = np.arange(120) // 10
    return replace(
        test,
        table=test.table.assign(
            sequence=[f"cell-{k}" for k in own], frame=np.arange(120) % 10, group=[f"dish-{k % 4}" for k in own]
        ),
    )


def told(test, skill, seed, decoded=False):
    one = evaluated(test, "net", skill, seed=seed, version=str(seed))
    places = {"sequences": test.sequences, "frames": test.table["frame"].to_numpy()}
    said = replace(one.predictions, **places)
    best = replace(said, probabilities=np.eye(3)[test.targets]) if decoded else None
    return replace(one, predictions=said, decoded=best)


def test_each_reading_has_a_row_with_its_own_figures(films):
    models = [told(films, 2, 1, decoded=True), told(films, 1, 2)]
    found = sequences.table(models, QUICK)
    assert found[["version", "reading"]].values.tolist() == [["1", "frames"], ["1", "decoded"], ["2", "frames"]]
    for row, said in zip(found.to_dict("records"), (models[0].predictions, None, models[1].predictions), strict=True):
        if said is None:
            assert (row["balanced_accuracy"], row["edit"], row["transition_error"]) == (1, 1, 0)
            continue
        assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(said.targets, said.predicted))
        for name, value in segments.compute(said).items():
            assert row[name] == pytest.approx(value, nan_ok=True)
        for name in sequences.RESAMPLED:
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_images_have_no_such_table(films):
    assert sequences.table([evaluated(films, "net", 1)], QUICK).empty


def test_seeds_are_summed_up_over_time_too(films):
    models = [told(films, 2, seed, decoded=True) for seed in (1, 2, 3)]
    ranked = table.build(models, films, films.counts, QUICK)
    found = sequences.table(models, QUICK)
    scored, further = sequences.beside(ranked, found)
    assert further == (*sequences.SUMMED, *(f"decoded_{name}" for name in ("balanced_accuracy", *sequences.SUMMED)))
    known = {one.name: {"train.seed": str(k)} for k, one in enumerate(models)}
    (row,) = cells.table(scored, known, further).to_dict("records")
    errors = found.loc[found["reading"] == "frames", "transition_error"]
    assert row["transition_error"] == pytest.approx(errors.mean())
    assert row["transition_error_sd"] == pytest.approx(errors.std(ddof=1))
    assert (row["decoded_balanced_accuracy"], row["decoded_balanced_accuracy_sd"]) == (1, 0)


def test_supervision_sets_cells_apart(films):
    models = [told(films, 2, seed) for seed in (1, 2, 3, 4)]
    ranked = table.build(models, films, films.counts, QUICK)
    known = {
        one.name: {"train.seed": str(k // 2), "sequence.supervision": ("frames", "transcripts")[k % 2]}
        for k, one in enumerate(models)
    }
    found = cells.table(ranked, known)
    assert sorted(found["settings"]) == ["sequence.supervision=frames", "sequence.supervision=transcripts"]
    assert found["n"].tolist() == [2, 2]


def test_rows_of_one_backbone_tell_what_they_were_trained_with(films, tmp_path):
    known = {f"cells.net v{v}": {"train.seed": "0", "sequence.supervision": s} for v, s in ((1, "frames"), (2, "none"))}
    models = cells.told_apart([told(films, 2, 1), told(films, 1, 2), evaluated(films, "other", 1)], known)
    assert [one.settings for one in models] == ["sequence.supervision=frames", "sequence.supervision=none", ""]
    ranked, over_time = table.build(models, films, films.counts, QUICK), sequences.table(models, QUICK)
    assert ranked["settings"].tolist() == [*(one.settings for one in table.ordered(models, QUICK)), ""]
    assert over_time["settings"].tolist() == [one.settings for one in models[:2]]
    assert any("supervision=none" in text for text in sequences.section(over_time)["rows"][1])
    report.write(tmp_path, report.Benchmark("films", ranked, models, films, QUICK, sequences=over_time))
    for name in ("table.csv", "table.md", "report.html", "sequences.csv"):
        assert (tmp_path / name).read_text().count("supervision=frames") > 0


def test_the_report_shows_both_readings(films, tmp_path):
    models = [told(films, 2, 1, decoded=True)]
    ranked = table.build(models, films, films.counts, QUICK)
    found = sequences.table(models, QUICK)
    report.write(tmp_path, report.Benchmark("films", ranked, models, films, QUICK, sequences=found))
    assert len(pd.read_csv(tmp_path / "sequences.csv")) == 2
    page = (tmp_path / "report.html").read_text()
    assert "Stages over time" in page
    assert '<td class="text">decoded</td>' in page
    report.write(tmp_path, report.Benchmark("films", ranked, models, films, QUICK))
    assert "Stages over time" not in (tmp_path / "report.html").read_text()

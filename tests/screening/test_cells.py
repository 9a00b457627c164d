import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cellml.config import Data
from cellml.config import Screen as Settings
from cellml.errors import UserError
from cellml.screening import cells as subject

SETTINGS = Settings(negative="WT", positive="DS")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "screen"
    root.mkdir()
    rng = np.random.default_rng(0)
    names = ["WT", "WT", "DS", "DS", "drug", "drug", ""]
    table = pd.DataFrame({"file": [f"{k}.png" for k in range(7)], "treatment": names, "plate": "P1", "phase": "x"})
    table["well"] = ["A1", "A2", "B1", "B2", "C1", "", "C3"]
    for name in table["file"]:
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(root / name)
    table.to_csv(root / "cells.csv", index=False)
    return root


def given(folder, **changes):
    values = {"source": "table", "path": str(folder), "file": "file", "label": "treatment"}
    return Data(**{**values, "classes": ["DS", "WT"], "unlisted": "drop", **changes})


def test_treatments_beyond_the_classes_are_read_too(folder):
    found = subject.read(given(folder), SETTINGS)
    assert found.table["treatment"].tolist() == ["WT", "WT", "DS", "DS", "drug"]
    assert found.table["well"].tolist() == ["A1", "A2", "B1", "B2", "C1"]
    assert set(found.table["plate"]) == {"P1"}
    assert "1 image without plate or well left out" in found.notes
    assert found.dataset.pixels.images(found.table["row"])[0].shape == (8, 8, 1)


def test_names_are_those_of_the_classes(folder):
    data = given(folder, classes={"WT": "wild type", "DS": "disease"})
    found = subject.read(data, Settings(negative="wild type", positive="disease"))
    assert found.table["treatment"].tolist() == ["wild type", "wild type", "disease", "disease", "drug"]


def test_the_treatment_may_be_another_column_and_plate_and_well_absent(folder):
    data = given(folder, label="phase", classes=None, group="well")
    settings = Settings(negative="WT", positive="DS", treatment="treatment", plate=None, well=None)
    found = subject.read(data, settings)
    assert found.table["treatment"].tolist() == ["WT", "WT", "DS", "DS", "drug", "drug"]
    assert found.table["well"].tolist()[:5] == ["A1", "A2", "B1", "B2", "C1"]
    assert set(found.table["plate"]) == {""}


def test_controls_are_checked_before_an_image_is_read(folder):
    for file in folder.glob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(UserError, match="Expected the positive control among the treatments, got 'DX'"):
        subject.read(given(folder), Settings(negative="WT", positive="DX"))
    with pytest.raises(UserError, match=r"Expected column 'Plate' in cells.csv"):
        subject.read(given(folder), Settings(negative="WT", positive="DS", plate="Plate"))


def test_images_that_the_model_learned_from_do_not_count(folder):
    cells = subject.read(given(folder), SETTINGS)
    hashes = cells.table["pixels"].tolist()
    left = subject.unseen(cells, {hashes[0], hashes[2]}, SETTINGS)
    assert left.table["well"].tolist() == ["A2", "B2", "C1"]
    assert any("2 images of 5 left out" in note for note in left.notes)
    everything = subject.unseen(cells, set(hashes), Settings(negative="WT", positive="DS", rows="all"))
    assert len(everything.table) == 5
    assert "too good" in everything.notes[-1]
    assert "not known" in subject.unseen(cells, None, SETTINGS).notes[-1]
    assert subject.unseen(cells, {"other"}, SETTINGS) is cells
    with pytest.raises(UserError, match="Expected images of the control 'WT' that the model has not seen"):
        subject.unseen(cells, set(hashes[:2]), SETTINGS)


def test_a_well_that_was_seen_in_part_is_told(folder):
    cells = subject.read(given(folder), SETTINGS)
    cells.table["well"] = ["A1", "A1", "B1", "B1", "C1"]
    left = subject.unseen(cells, set(cells.table["pixels"][[0, 2]]), SETTINGS)
    assert any("Cells of 2 wells that count were also seen in training" in note for note in left.notes)


def test_scores_in_units_of_a_plates_controls():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"plate": ["P", "Q"] * 60, "treatment": ["WT", "WT", "DS", "DS", "drug", "drug"] * 20})
    values = table["treatment"].map({"WT": 0, "DS": 4, "drug": 2}) + rng.normal(0, 0.1, 120)
    scores = np.where(table["plate"] == "Q", 3 * values + 7, values)
    found = subject.by_plate(scores, table, SETTINGS)
    medians = pd.Series(found).groupby([table["plate"], table["treatment"]]).median().unstack()
    assert medians["WT"].tolist() == pytest.approx([0, 0])
    assert medians["DS"].tolist() == pytest.approx([1, 1])
    assert medians["drug"].tolist() == pytest.approx([0.5, 0.5], abs=0.05)
    with pytest.raises(UserError, match=r"on Q .1 such plates"):
        subject.by_plate(
            scores, table.assign(treatment=table["treatment"].where(table["plate"] == "P", "DS")), SETTINGS
        )


def test_frames_of_movies_are_no_screen(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path / "cache"))
    data = Data(source="simulated_movies", options={"movies": 2, "frames": 4})
    settings = Settings(negative="prophase", positive="metaphase", plate=None, well=None)
    with pytest.raises(UserError, match="got frames of movies"):
        subject.read(data, settings)

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cellml.config import Data
from cellml.config import Screen as Settings
from cellml.errors import UserError
from cellml.screening import run as subject
from cellml.screening.run import Model
from tests.evaluation.screens import cells
from tests.kept import Kept

SETTINGS = {"negative": "WT", "positive": "DS", "resamples": 100}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images as bright as their scores."""
    root = tmp_path_factory.mktemp("screen")
    table = cells(plates=2, wells=3, each=4)
    noise = np.random.default_rng(0)
    table["file"] = [f"{k}.png" for k in range(len(table))]
    for name, score in zip(table["file"], table["score"], strict=True):
        pixels = np.clip(100 + 20 * score + noise.normal(0, 0.5, (6, 6)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)
    table.drop(columns="score").to_csv(root / "cells.csv", index=False)
    return root


def bright(dataset, rows):
    """DS the brighter an image is."""
    value = (np.array([image.mean() for image in dataset.pixels.images(rows)]) - 140) / 20
    p = 1 / (1 + np.exp(-value))
    return np.stack([p, 1 - p], axis=1).astype(np.float32)


def embed(dataset, rows):
    value = np.array([image.mean() for image in dataset.pixels.images(rows)])
    return np.stack([value, np.random.default_rng(0).normal(size=len(rows))], axis=1)


def refuse(dataset):
    raise UserError("no such images")


def model(**changes):
    parts = {"check": lambda dataset: None, "probabilities": bright, "embed": embed, "learned": frozenset}
    return Model("bright/1", ("DS", "WT"), **{**parts, **changes})


@pytest.fixture
def ran(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path / "cache"))

    def ran(given=None, **settings):
        kept, lines = Kept(tmp_path / "out"), []
        kept.folder.mkdir()
        data = Data(source="table", path=str(folder), file="file", label="treatment", classes=["DS", "WT"])
        subject.run(Settings(**{**SETTINGS, **settings}), data, given or model(), kept, lines.append)
        return kept, lines

    return ran


def test_everything_comes_of_one_call(ran):
    kept, lines = ran()
    files = {path.name for path in (kept.folder / "screen").iterdir()}
    assert files == {
        "report.md", "controls.csv", "treatments.csv", "plates.csv", "wells.csv", "cells.csv",
        "controls.png", "treatments.png", "plates.png",
    }  # fmt: skip
    found = pd.read_csv(kept.folder / "screen" / "treatments.csv").set_index("treatment")
    assert found.loc["strong", "distance"] < 0.3 < found.loc["half", "distance"]
    assert found.loc["half", "distance"] < found.loc["none", "distance"]
    assert kept.logged["screen/cells/z_prime_low"] < kept.logged["screen/cells/z_prime"]
    assert kept.logged["screen/cells_scored"] == 120
    assert any(line.startswith("Z': ") for line in lines)
    scored = pd.read_csv(kept.folder / "screen" / "cells.csv")
    assert scored.groupby("treatment")["score"].mean()["DS"] > 1


def test_a_discriminant_asks_for_embeddings_alone(ran):
    kept, _ = ran(model(probabilities=None), score="discriminant")
    found = pd.read_csv(kept.folder / "screen" / "cells.csv").groupby("treatment")["score"].mean()
    assert found["DS"] == pytest.approx(1, abs=0.15)
    assert found["WT"] == pytest.approx(0, abs=0.15)


def test_scores_by_plate(ran):
    kept, _ = ran(normalise="plate")
    scored = pd.read_csv(kept.folder / "screen" / "cells.csv")
    medians = scored.groupby(["treatment", "plate"])["score"].median()
    assert medians["WT"].tolist() == pytest.approx([0, 0])
    assert medians["DS"].tolist() == pytest.approx([1, 1])


def test_few_wells_or_plates_are_told(ran):
    _, lines = ran(bootstrap="plates")
    assert "note: the control WT comes from 2 plates: intervals and p say next to nothing" in lines


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"positive": ""}, "Expected the positive control's name, got none"),
        ({"positive": "WT"}, "Expected two controls, got 'WT' as both"),
        ({"positive": "none"}, "Expected a class of the model for score=logit, got 'none'"),
        ({"positive": "nobody", "score": "discriminant"}, "Expected the positive control among the treatments"),
        ({}, "no such images"),
    ],
)
def test_what_is_wrong_is_said(ran, settings, said):
    with pytest.raises(UserError, match=said):
        ran(model(check=refuse), **settings)

"""A registered model on a screen of three plates, as a user would run it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
RADII = {"WT": 8.5, "DS": 5.0, "rescue": 8.0, "inert": 5.0}
EXPERIMENT = """
name: cultures
data:
  source: table
  path: screen
  table: cells.csv
  file: "{uid}.png"
  label: treatment
  classes: [WT, DS]
  unlisted: drop
  group: [plate, well]
split: {validation: 0.25, test: 0.5}
input: {size: 24}
model: {backbone: test_resnet}
train: {epochs: 8, batch_size: 16, lr: 0.01}
explain: {count: 0}
screen: {negative: WT, positive: DS, resamples: 200}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_database):
    """A model that tells small discs from large ones, and plates with both and two treatments."""
    from tests.e2e.conftest import make_project

    made = make_project(tmp_path_factory.mktemp("screen"), empty_database)
    (made.folder / "cultures.yaml").write_text(EXPERIMENT)
    folder = made.folder / "screen"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for plate in ("P1", "P2", "P3"):
        for column, (name, radius) in enumerate(RADII.items()):
            for row in "ABC":
                for _ in range(6):
                    x, y = rng.normal(0, 1, 2)
                    far = np.hypot(np.arange(24) - 11.5 - x, np.arange(24)[:, None] - 11.5 - y)
                    pixels = rng.integers(0, 20, (24, 24)) + 150 * (far < radius + rng.normal(0, 0.5))
                    uid = f"{len(rows):04}"
                    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{uid}.png")
                    rows.append((uid, plate, f"{row}{column + 1:02}", name))
    pd.DataFrame(rows, columns=["uid", "plate", "well", "treatment"]).to_csv(folder / "cells.csv", index=False)
    done = made.cellml("train", "--experiment", "cultures.yaml")
    assert done.returncode == 0, done.stdout
    return made


def test_tables_figures_and_metrics_of_a_registered_model(project):
    done = project.mlflow_run("screen", "--experiment-name", "screens", model="models:/cultures.test_resnet/1")
    assert done.returncode == 0, done.stdout
    assert "left out, which are among the model's training or validation images" in done.stdout
    (folder,) = project.folder.glob("mlruns/*/*/artifacts/screen")
    assert {path.name for path in folder.iterdir()} == {
        "report.md", "controls.csv", "treatments.csv", "plates.csv", "wells.csv", "cells.csv",
        "controls.png", "treatments.png", "plates.png",
    }  # fmt: skip
    found = pd.read_csv(folder / "treatments.csv").set_index("treatment")
    assert list(found.index) == ["rescue", "inert", "WT", "DS"]
    assert found.loc["rescue", "distance"] < 0.4
    assert found.loc["inert", "distance"] > 0.8
    assert found.loc["inert", "wells"] == 9
    assert found.loc["WT", "wells"] < 9
    run = project.runs("screens")[-1]
    assert run.data.tags["cellml.kind"] == "screen"
    assert run.data.metrics["screen/cells/auroc"] > 0.95
    assert "screen/cells/z_prime_low" in run.data.metrics


def test_a_discriminant_of_embeddings_on_all_rows(project):
    words = ("--model", "models:/cultures.test_resnet/1", "--score", "discriminant", "--screen.rows", "all")
    done = project.cellml("screen", *words)
    assert done.returncode == 0, done.stdout
    assert "their scores are too good" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--positive", "DX"], "error: Expected a class of the model for score=logit, got 'DX'"),
        (["--positive", "DX", "--score", "discriminant"], "error: Expected the positive control among the treatments"),
        (["--well", "Well"], "error: Expected column 'Well' in cells.csv"),
        (["--positive", "WT"], "error: Expected two controls, got 'WT' as both"),
    ],
)
def test_a_users_mistake_is_one_line(project, words, said):
    done = project.cellml("screen", "--model", "models:/cultures.test_resnet/1", *words)
    assert done.returncode == 2
    assert said in done.stdout.strip().splitlines()[-1]

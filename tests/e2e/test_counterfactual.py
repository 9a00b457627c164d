"""Dark cells changed into bright ones by a network with a way back, judged by another, as a user would run it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
EXPERIMENT = """
name: brightness
data: {source: folders, path: cells}
split: {validation: 0.2, test: 0.3}
input: {size: 16}
model: {backbone: iresnet, options: {blocks: [1, 1], widths: [8, 16]}}
train: {epochs: 12, batch_size: 16, lr: 0.01, augment: {brightness: 0, contrast: 0}}
explain: {count: 0}
"""
MEANS = {"dim": 60, "bright": 90}


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_database):
    """An i-ResNet and a small ResNet that tell dim cells from bright ones."""
    from tests.e2e.conftest import make_project

    made = make_project(tmp_path_factory.mktemp("brightness"), empty_database)
    (made.folder / "brightness.yaml").write_text(EXPERIMENT)
    rng = np.random.default_rng(0)
    for name, level in MEANS.items():
        folder = made.folder / "cells" / name
        folder.mkdir(parents=True)
        for n in range(80):
            pixels = rng.normal(level, 6) + rng.normal(0, 12, (16, 16))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{n}.png")
    for words in ((), ("--model.backbone", "test_resnet", "--model.options", "{}")):
        done = made.cellml("train", "--experiment", "brightness.yaml", *words)
        assert done.returncode == 0, done.stdout
    return made


def test_dim_cells_become_brighter_and_the_judge_agrees(project):
    names = {"model": "models:/brightness.iresnet/1", "judge": "models:/brightness.test_resnet/1"}
    done = project.mlflow_run("counterfactual", "--experiment-name", "changed", channels="light", **names)
    assert done.returncode == 0, done.stdout
    (folder,) = project.folder.glob("mlruns/*/*/artifacts/counterfactuals")
    changes = pd.read_csv(folder / "changes.csv")
    changes = changes[changes["of"] == "mean"].set_index(["source", "target"])
    planted = MEANS["bright"] / MEANS["dim"] - 1
    row = changes.loc[("dim", "bright")]
    assert row["channel"] == "light"
    assert 0 < row["low"] <= row["change"] <= row["high"]
    assert planted / 3 < row["change"] < 3 * planted
    assert changes.loc[("bright", "dim"), "high"] < 0
    summary = pd.read_csv(folder / "summary.csv").set_index("source")
    assert summary.loc["dim", "validity"] > 0.8
    run = project.runs("changed")[-1]
    assert run.data.metrics["counterfactual/dim_to_bright/validity"] == summary.loc["dim", "validity"]
    assert run.data.tags["cellml.judge"] == names["judge"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--judge", "models:/brightness.iresnet/1"], "error: Expected a judge other than the model itself"),
        (["--judge", "models:/brightness.test_resnet/1", "--source", "dark"], "error: Expected a class of the model"),
        (["--judge", "models:/brightness.test_resnet/1", "--method", "mean"], "did you mean 'means'"),
    ],
)
def test_a_users_mistake_is_one_line(project, words, said):
    done = project.cellml("counterfactual", "--model", "models:/brightness.iresnet/1", *words)
    assert done.returncode == 2
    assert said in done.stdout.strip().splitlines()[-1]

"""Experiment files on made-up images in the layout that they expect, at a budget of seconds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from cellml import commands, config
from tests.conftest import ROOT

BRIGHTNESS = {"control": 60, "resistant": 190, "non-cancer": 125}
pytestmark = pytest.mark.slow
TINY = {
    "input.size": 32, "model.backbone": "test_resnet", "model.weights": "none", "sampling.pixels": 4, "train.epochs": 1,
    "train.steps": 2, "train.folds": 2, "train.threads": 1, "train.device": "cpu", "explain.count": 0,
    "compare.resamples": 100,
}  # fmt: skip


@pytest.fixture
def study(shared_workspace):
    """Pure and mixed wells of six images in the study's folders, and a store."""
    rng = np.random.default_rng(0)

    def well(folder, parts):
        (shared_workspace / "data" / folder).mkdir(parents=True)
        classes = [name for name, count in parts.items() for _ in range(count)]
        for number, name in enumerate(classes):
            pixels = rng.normal(BRIGHTNESS[name], 20, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(shared_workspace / "data" / folder / f"{number}.png")

    for name in BRIGHTNESS:
        for number in range(5):
            well(f"HOMO/{name}/w{number}", {name: 6})
    for mixture, parts in {"1-2": (2, 4), "2-1": (4, 2), "1-3": (2, 6), "3-1": (6, 2)}.items():
        for number in range(5):
            well(f"HETERO/{mixture}/w{number}", {"control": parts[0], "resistant": parts[1]})
    return shared_workspace / "data"


def test_chemoresistance_sweeps_its_five_recipes_and_ranks_them(study):
    file = config.load(ROOT / "experiments" / "chemoresistance.yaml")
    experiment = file.replace({**TINY, "data.path": str(study)})
    commands.main(experiment)
    client = MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("chemoresistance").experiment_id])
    trials = {r.data.tags["cellml.strategy"]: r for r in runs if r.data.tags["cellml.kind"] == "trial"}
    assert sorted(trials) == ["M1", "M2", "M3", "M4", "M5"]
    assert {r.info.status for r in runs} == {"FINISHED"}
    mixed = {name: _mixed(client, run) for name, run in trials.items()}
    assert mixed["M1"][1] == 0
    assert mixed["M2"][0] == mixed["M2"][1] > 0
    assert mixed["M5"][1] > 0
    (parent,) = [r for r in runs if r.data.tags["cellml.kind"] == "main"]
    table = pd.read_csv(client.download_artifacts(parent.info.run_id, "benchmark/table.csv"))
    assert sorted(table["strategy"].dropna()) == ["M1", "M2", "M3", "M4", "M5"]
    assert table.loc[: len(table) - 2, ["accuracy", "rmse", "composition_rmse"]].notna().all(axis=None)


def _mixed(client, run):
    counts = json.loads(Path(client.download_artifacts(run.info.run_id, "data/class_counts.json")).read_text())[0]
    return [sum(n for name, n in counts[when].items() if ":" in name) for when in ("before", "after")]

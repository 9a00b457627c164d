"""Cells whose telling part is small and off the centre: do a good model's heatmaps find it, does the page open?"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from cellml.explain.maps import load_maps

pytestmark = pytest.mark.slow
SIDE, SPOT = 48, 9
MODEL = "models:/spots.test_resnet/1"
EXPERIMENT = """
name: spots
data: {source: table, table: table.csv, file: file, label: label, group: slide, mask: mask}
split: {validation: 0.2, test: 0.2}
input: {size: 48}
model: {backbone: test_resnet}
train: {epochs: 12, batch_size: 32, lr: 0.01, augment: {flip: true, rotate: 0, scale: 0, shift: 0}}
explain: {methods: [gradcam], count: 4, measured: 32, options: {lime: {samples: 150}}}
compare: {resamples: 100}
"""


def draw(folder, count=600, seed=0):
    """Pink tissue with a round nucleus in the middle; a stain of one of two colours far from it tells the class."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    across = np.arange(SIDE) - SIDE / 2 + 0.5
    nucleus = (across[:, None] ** 2 + across**2 < 8**2).astype(float)
    rows = []
    for n in range(count):
        infected = n % 2
        tissue = 200 + 60 * gaussian_filter(rng.normal(size=(SIDE, SIDE)), 2)
        image = np.stack([tissue, 0.7 * tissue, 0.85 * tissue], axis=2)
        image -= 90 * gaussian_filter(nucleus, 1)[..., None]
        corner = rng.integers(0, 2, 2)  # the spot lies in one of the four corners
        top, left = (int(rng.integers(2, 6)) if c == 0 else SIDE - SPOT - int(rng.integers(2, 6)) for c in corner)
        mask = np.zeros((SIDE, SIDE), bool)
        mask[top : top + SPOT, left : left + SPOT] = True
        stain = gaussian_filter(mask.astype(float), 1)[..., None]
        image = image * (1 - stain) + stain * (np.array([70, 60, 160]) if infected else np.array([70, 150, 60]))
        image += rng.normal(0, 8, image.shape)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{n}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{n}.png")
        rows.append((f"images/{n}.png", f"masks/{n}.png", ["healthy", "infected"][infected], f"slide-{n // 2 % 20}"))
    pd.DataFrame(rows, columns=["file", "mask", "label", "slide"]).to_csv(folder / "table.csv", index=False)


@pytest.fixture(scope="module")
def explained(tmp_path_factory, empty_database):
    """A project after `train` and `explain` by several methods."""
    from tests.e2e.conftest import make_project

    project = make_project(tmp_path_factory.mktemp("explained"), empty_database)
    draw(project.folder / "cells")
    (project.folder / "spots.yaml").write_text(EXPERIMENT)
    done = project.mlflow_run("train", "--experiment-name", "spots", experiment="spots.yaml", data="cells")
    assert done.returncode == 0, done.stdout
    methods = "gradcam,occlusion,integrated_gradients,lime,attention_rollout"
    done = project.mlflow_run("explain", model=MODEL, data="cells", methods=methods, count="4")
    assert done.returncode == 0, done.stdout
    project.said = done.stdout
    return project


def runs_of(project, kind):
    return [run for run in project.all_runs() if run.data.tags.get("cellml.kind") == kind]


def artifact(project, run, path):
    return project.client.download_artifacts(run.info.run_id, path, str(project.folder))


def test_maps_hit_the_telling_part_where_baselines_do_not(explained):
    train, explain = runs_of(explained, "train")[0], runs_of(explained, "explain")[-1]
    assert train.data.metrics["test/balanced_accuracy"] >= 0.95
    hits = {
        name: explain.data.metrics[f"explain/{name}/pointing_game"]
        for name in ("gradcam", "occlusion", "centre", "random")
    }
    print(hits)
    assert min(hits["gradcam"], hits["occlusion"]) >= 0.9
    assert hits["centre"] <= 0.1
    assert hits["random"] <= 0.4


def test_every_method_passes_the_check_by_random_weights(explained):
    metrics = runs_of(explained, "explain")[-1].data.metrics
    for method in ("gradcam", "occlusion", "integrated_gradients", "lime"):
        assert metrics[f"explain/{method}/randomisation"] < 0.5, method


def test_what_was_said(explained):
    assert "gradcam: deletion" in explained.said
    assert "note: attention_rollout cannot serve test_resnet" in explained.said


def test_maps_by_id(explained):
    run = runs_of(explained, "explain")[-1]
    ids, maps = load_maps(artifact(explained, run, "heatmaps/lime.npz"))
    assert len(ids) == len(maps) > 4
    assert maps.convergence is not None
    table = pd.read_parquet(artifact(explained, run, "data/manifest.parquet"))
    assert set(ids) <= set(table["id"])


def test_the_model_is_rebuilt_in_other_code(explained):
    code = (
        "import cellml, json, numpy as np, torch;"
        "m = cellml.load_classifier('models:/spots.test_resnet/1');"
        "x = np.random.default_rng(0).integers(0, 256, (3, 60, 50, 3)).astype(np.uint8);"
        "import mlflow; p = mlflow.pyfunc.load_model('models:/spots.test_resnet/1').predict(x);"
        "print(json.dumps(float(np.abs(m(torch.from_numpy(x)).detach().numpy() - p).max())))"
    )
    store = f"sqlite:///{explained.folder / 'mlflow.db'}"
    done = explained.command(
        "python", "-c", code, MLFLOW_TRACKING_URI=store, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false"
    )
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout.strip().splitlines()[-1]) < 1e-5


def test_faithfulness_stands_in_the_benchmark_table(explained):
    done = explained.mlflow_run("compare", experiment="spots.yaml", data="cells", entries="all")
    assert done.returncode == 0, done.stdout
    run = runs_of(explained, "compare")[-1]
    table = pd.read_csv(artifact(explained, run, "benchmark/table.csv"))
    row = table.iloc[0]
    assert 0 <= row["gradcam_deletion"] < row["gradcam_insertion"] <= 1
    assert row["gradcam_pointing_game"] >= 0.9
    assert table.iloc[-1][["gradcam_deletion"]].isna().all()
    markdown = Path(artifact(explained, run, "benchmark/table.md")).read_text()
    assert "gradcam deletion" in markdown
    assert "occlusion deletion" not in markdown


@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromium") or not shutil.which("chromedriver"), reason="needs Chromium")
def test_the_page_opens_without_console_errors(explained):
    from selenium import webdriver
    from selenium.webdriver.common.by import By

    from tests.e2e.test_browser import OPTIONS

    options = webdriver.ChromeOptions()
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options)
    try:
        run = runs_of(explained, "explain")[-1]
        browser.get(f"file://{artifact(explained, run, 'explain.html')}")
        text = browser.find_element(By.TAG_NAME, "body").text
        assert "models:/spots" in text
        assert "integrated gradients" in text
        assert not browser.get_log("browser")
    finally:
        browser.quit()

"""A registered model on a movie, as a user would run it."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from tests.sequences import fields as helpers

pytestmark = pytest.mark.slow
EXPERIMENT = """
name: discs
data: {source: folders, path: discs, classes: [interphase, anaphase]}
split: {validation: 0.2, test: 0.2}
input: {size: 24}
model: {backbone: test_resnet}
train: {epochs: 20, batch_size: 16, lr: 0.01}
explain: {count: 0}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_database):
    """A model that tells small discs from large ones, and a movie of both."""
    from tests.e2e.conftest import make_project

    made = make_project(tmp_path_factory.mktemp("movie"), empty_database)
    (made.folder / "discs.yaml").write_text(EXPERIMENT)
    rng = np.random.default_rng(0)
    for name, radius in (("interphase", 8.5), ("anaphase", 5.5)):
        (made.folder / "discs" / name).mkdir(parents=True)
        for k in range(60):
            x, y = rng.normal(0, 1, 2)
            far = np.hypot(np.arange(24) - 11.5 - x, np.arange(24)[:, None] - 11.5 - y)
            pixels = rng.integers(0, 20, (24, 24)) + 150 * (far < radius + rng.normal(0, 0.5))
            Image.fromarray(pixels.astype(np.uint8)).save(made.folder / "discs" / name / f"{k}.png")
    tifffile.imwrite(made.folder / "movie.tif", helpers.frames())
    tifffile.imwrite(made.folder / "masks.tif", helpers.labels("track"))
    done = made.cellml("train", "--experiment", "discs.yaml")
    assert done.returncode == 0, done.stdout
    return made


def test_overlay_table_and_curves_of_a_registered_model(project):
    done = project.mlflow_run(
        "movie",
        model="models:/discs.test_resnet/1",
        movie="movie.tif",
        masks="masks.tif",
        link="no",
        window="24",
        caption="not validated: discs only",
        track="4",
    )
    assert done.returncode == 0, done.stdout
    assert "12 frames, 5 tracks, 42 cells" in done.stdout
    (folder,) = project.folder.glob("mlruns/*/*/artifacts/movie")
    names = {path.name for path in folder.iterdir()}
    assert {"overlay.mp4", "overlay.gif", "track_4.mp4", "cells.csv", "population.csv", "population.png"} <= names
    cells = pd.read_csv(folder / "cells.csv", dtype={"track": str})
    small = cells["track"].isin(["4", "5"])
    assert ((cells["stage"] == "anaphase") == small).mean() > 0.8
    assert "mitotic_index" in pd.read_csv(folder / "population.csv")


def test_a_users_mistake_is_one_line(project):
    done = project.cellml("movie", "--model", "models:/discs.test_resnet/1", "--movie", "movie.tif")
    assert done.returncode == 2
    assert done.stdout.strip().splitlines()[-1].startswith("error: Expected where the cells are")

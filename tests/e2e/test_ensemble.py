"""An ensemble through `mlflow run`, and in other code."""

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

CONSUMER = """
names = ("together.ensemble@champion", "tiny.test_efficientnet@champion", "tiny.test_resnet@champion")
models = [mlflow.pyfunc.load_model(f"models:/{name}") for name in names]
for shape in ((1, 32, 32), (4, 100, 90)):
    images = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    whole, first, second = (model.predict(images) for model in models)
    assert abs(whole - (first + second) / 2).max() < 1e-5
"""


def test_two_champions_become_one_model_for_any_code(finished):
    done = finished.mlflow_run("ensemble", experiment="tiny.yaml", rule="maen")
    assert done.returncode == 1
    assert "did you mean 'mean'" in done.stdout
    champions = "models:/tiny.test_efficientnet@champion,models:/tiny.test_resnet@champion"
    done = finished.mlflow_run("ensemble", experiment="tiny.yaml", name="together", models=champions)
    assert done.returncode == 0, done.stdout
    version = finished.client.get_model_version_by_alias("together.ensemble", "champion")
    assert (version.tags["cellml.backbone"], version.tags["cellml.strategy"]) == ("ensemble", "mean")
    table = pd.read_csv(finished.client.download_artifacts(version.run_id, "ensemble/weights.csv"))
    assert list(table["weight"]) == [0.5, 0.5]
    finished.consume(CONSUMER)

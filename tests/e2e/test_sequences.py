"""Sequence models from a sweep to the benchmark table, and the champion at several lengths."""

import mlflow.pyfunc
import numpy as np
import pytest

from cellml import commands
from cellml.tracking import registry
from tests.training import movies
from tests.training.helpers import experiment

pytestmark = pytest.mark.slow


def test_sequence_models_sweep_register_and_rank(workspace, capsys):
    (workspace / "discs").mkdir()
    chosen = {"sweep.backbones": ["test_resnet", "test_resnet+gru"], "sweep.trials": 2, "explain.count": 2}
    data = {"name": "discs", "data.path": str(workspace / "discs"), "data.source": movies.SOURCE}
    own = experiment(**data, **chosen, **{"train.batch_size": 2, "train.epochs": 6, "sequence.units": 8})
    commands.main(own)
    said = capsys.readouterr().out
    assert "no heatmaps of discs.test_resnet-0x2B-gru v1: Expected a model that judges images by themselves" in said
    gru = registry.predictor("models:/discs.test_resnet-0x2B-gru@champion")
    assert (gru.sequential, gru.metadata["sequence"]) == (True, {"units": 8, "layers": 1})
    champion = mlflow.pyfunc.load_model("models:/discs@champion")
    for shape in ((1, 1, 24, 24), (3, 5, 24, 24), (1, 40, 30, 28)):
        clip = np.random.default_rng(0).integers(0, 256, (*shape, gru.channels), dtype=np.uint8)
        assert champion.predict(clip).shape == (*shape[:2], 3)
    entry = registry.resolve("models:/discs.test_resnet@champion")
    run = mlflow.MlflowClient().list_artifacts(entry.run_id, "heatmaps/gradcam")
    assert {item.path.rpartition("/")[2] for item in run} >= {"before.png", "during.png", "after.png"}

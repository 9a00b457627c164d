import numpy as np
import pytest
import torch

from cellml import heatmaps
from cellml.config import Explain
from cellml.explain import base, faithfulness
from cellml.heatmaps import measures


def test_scores_are_of_the_predicted_classes(classifier, dataset, rows, predictions):
    settings = Explain(methods=["occlusion"], measured=5)
    found = heatmaps.faithfulness(classifier, dataset, rows, predictions, settings)
    picked = measures.rows(predictions, 5)
    pixels = dataset.pixels.resized(None, 32, rows.rows[picked]).astype(np.float32)
    prepared = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    maps = base.explain("occlusion", classifier, prepared, predictions.predicted[picked])
    expected = faithfulness.measure(classifier, prepared, maps)
    assert found["occlusion_deletion"] == pytest.approx(expected.deletion.mean(), abs=1e-5)
    assert found["occlusion_insertion"] == pytest.approx(expected.insertion.mean(), abs=1e-5)
    assert "occlusion_pointing_game" in found


def test_nothing_to_measure(classifier, dataset, rows, predictions):
    assert heatmaps.faithfulness(classifier, dataset, rows, predictions, Explain(measured=0)) == {}

import numpy as np
import pytest
import torch
from torch import nn

from cellml.errors import UserError
from cellml.models.classifier import Classifier, SequenceClassifier, Spec
from cellml.movies import attributions
from tests.movies.test_crops import silent


class Corner(nn.Module):
    """Stage 1 speaks of the top left quarter, stage 0 of nothing."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        size = images.shape[-1] // 2
        said = self.scale * images[:, 0, :size, :size].mean(dim=(1, 2))
        return torch.stack([0 * said, said], dim=1)


def test_colour_lies_where_the_model_looked():
    spec = Spec("corner", ("a", "b"), 1, "uint8", 48, None, (0.0,), (255.0,), (0.0,), (1.0,))
    windows = np.random.default_rng(0).integers(50, 255, (5, 40, 40, 1)).astype(np.uint8)
    heat = attributions.heat("saliency", Classifier(spec, Corner()), windows, np.ones(5, dtype=int), silent)
    for row in range(5):
        colours, strength = heat(row)
        assert colours.shape == (48, 48, 3)
        assert strength[:20, :20].mean() > 0.2
        assert strength[26:].max() == strength[:, 26:].max() == 0
    green = heat(0)[0][:20, :20]
    assert (green[..., 1] > green[..., 0]).all()


def test_a_sequence_model_is_refused():
    spec = Spec("tracker", ("a", "b"), 1, "uint8", 48, None, (0.0,), (255.0,), (0.0,), (1.0,), sequence={})
    with pytest.raises(UserError, match="got a sequence model; leave attribution out"):
        attributions.check("saliency", SequenceClassifier(spec, Corner()))


def test_only_a_single_classifier_is_explained():
    with pytest.raises(UserError, match="single classifier"):
        attributions.heat("gradcam", None, np.zeros((1, 8, 8, 1)), np.zeros(1, dtype=int), silent)

import contextlib
import random

import numpy as np
import pytest
import torch

from cellml.errors import UserError
from cellml.explain import base
from cellml.explain.base import Attribution, explain
from tests.explain.helpers import Linear, Pooled, built, noise, wrapped


def test_user_errors_name_the_remedy():
    classifier = built("test_resnet")
    images = noise()
    with pytest.raises(UserError, match="did you mean 'gradcam'"):
        explain("gradcm", classifier, images, [0, 0])
    with pytest.raises(UserError, match="did you mean 'stride'"):
        explain("occlusion", classifier, images, [0, 0], strid=0.5)
    with pytest.raises(UserError, match=r"3 channels.*got \(2, 1, 64, 64\)"):
        explain("gradcam", classifier, images[:, :1], [0, 0])
    with pytest.raises(UserError, match="at least one image"):
        explain("gradcam", classifier, images[:0], [])
    with pytest.raises(UserError, match="from 0 to 2, got 0 to 3"):
        explain("gradcam", classifier, images, [0, 3])
    with pytest.raises(UserError, match="one class index for each of 2"):
        explain("gradcam", classifier, images, [0])


def test_a_broken_network_is_named():
    classifier = wrapped(Linear(3, 16, 3))
    with torch.no_grad():
        classifier.net.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="finite weights"):
        explain("occlusion", classifier, noise(size=16), [0, 0])


@pytest.mark.parametrize(("score", "power"), [("logit", 0), ("log_odds", 1), ("probability", 2)])
def test_scores_follow_their_definitions(score, power):
    classifier = wrapped(Pooled("NCHW"))
    images, classes = noise(4, 16) / 255, torch.tensor([0, 1, 2, 1])
    with torch.no_grad():
        logits = classifier.logits(images).double().numpy()
        got = base.scores(classifier, images, classes, score).numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    own = p[np.arange(4), classes]
    wanted = [logits[np.arange(4), classes], np.log(own / (1 - own)), own][power]
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_attribution_wants_a_map_a_class():
    with pytest.raises(ValueError, match="a map for each of 3"):
        Attribution(np.zeros((2, 4, 4), np.float32), np.zeros(3, np.int64), "gradcam")


def test_channels_fit_the_maps():
    maps, classes = np.zeros((2, 4, 5), np.float32), np.zeros(2, np.int64)
    Attribution(maps, classes, "saliency", channels=np.zeros((2, 3, 4, 5), np.float32))
    with pytest.raises(ValueError, match="expected channels of maps"):
        Attribution(maps, classes, "saliency", channels=np.zeros((2, 3, 5, 4), np.float32))


@pytest.mark.parametrize("stop", [False, True])
def test_the_random_state_comes_back(stop):
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    wanted = torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    with contextlib.suppress(KeyError), base.seeded(1):
        inside = torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()
        if stop:
            raise KeyError
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == wanted
    with base.seeded(1):
        assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == inside


def test_measured_is_scores_in_batches():
    classifier, images, classes = built("test_resnet", size=32).eval(), noise(5, 32), torch.tensor([0, 1, 2, 1, 0])
    got = base.measured(classifier, images, classes, "log_odds", 2)
    np.testing.assert_allclose(got, base.scores(classifier, images, classes, "log_odds").detach().numpy(), rtol=1e-5)
    assert got.dtype == np.float64

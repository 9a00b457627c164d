import os

import numpy as np
import pytest
import torch

from cellml.config import Experiment
from cellml.models import classifier as classifiers
from cellml.models.classifier import Classifier, Spec

torch.set_num_threads(1)  # tiny networks: more threads only wait for each other


@pytest.fixture
def store(workspace):
    """A store of its own in the working folder."""
    return workspace


@pytest.fixture
def experiment():
    return Experiment(name="cells")


@pytest.fixture(scope="session")
def make_classifier():
    def make(backbone="test_resnet", dtype="uint8", channels=3, **values) -> Classifier:
        torch.manual_seed(0)
        high = 255.0 if dtype == "uint8" else 4095.0
        values = {"size": 32, "crop": None, "classes": ("CD4+", "other", "é"), "strategy": "none"} | values
        ones = (1.0,) * channels
        spec = Spec(
            backbone=backbone,
            channels=channels,
            dtype=dtype,
            low=(0.0,) * channels,
            high=(high,) * channels,
            mean=(0.5,) * channels,
            std=ones,
            **values,
        )
        return classifiers.build(spec).eval()

    return make


@pytest.fixture(scope="session")
def make_images():
    def make(shape, dtype="uint8", seed=0):
        high = 256 if dtype == "uint8" else 4096
        return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)

    return make


@pytest.fixture(scope="session")
def python_path():
    """For subprocesses that work in another folder."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])

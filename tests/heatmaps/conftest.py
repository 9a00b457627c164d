"""A network with random weights on simulated cells, and its predictions."""

import pytest
import torch

from cellml import config
from cellml.data.prepare import prepare
from cellml.models.classifier import Spec, build
from cellml.training.predict import predict

EXPERIMENT = {
    "name": "cells",
    "data": {"source": "simulated", "options": {"count": 90, "size": 32, "slides": 12}},
    "split": {"test": 0.3},
    "input": {"size": 32},
}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    return prepare(config.parse(EXPERIMENT), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def rows(dataset):
    return dataset.manifest.split("test")


@pytest.fixture(scope="session")
def make(dataset):
    """Classifiers of the data with random weights."""

    def one(seed=0, size=32, **changes):
        torch.manual_seed(seed)
        values = {
            "backbone": "test_resnet",
            "classes": dataset.manifest.classes,
            "channels": 3,
            "dtype": "uint8",
            "size": size,
            "crop": None,
            "low": (0.0,) * 3,
            "high": (255.0,) * 3,
            "mean": (0.5,) * 3,
            "std": (0.25,) * 3,
        }
        return build(Spec(**{**values, **changes})).eval()

    return one


@pytest.fixture(scope="session")
def classifier(make):
    return make()


@pytest.fixture(scope="session")
def predictions(classifier, dataset, rows):
    return predict(classifier, dataset, rows)

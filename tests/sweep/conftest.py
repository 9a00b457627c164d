import shutil

import pytest

from cellml import config
from cellml.sweep import storage, study


@pytest.fixture
def experiment():
    return config.parse({"name": "x", "sweep": {"backbones": ["a", "b"], "strategies": ["none", "balanced"]}})


@pytest.fixture(scope="session")
def empty_study(tmp_path_factory):
    """A database with Optuna's tables, made once: making them takes seconds."""
    file = tmp_path_factory.mktemp("empty") / "optuna.db"
    storage.open_storage(f"sqlite:///{file}")
    return file


@pytest.fixture
def url(empty_study, tmp_path):
    return f"sqlite:///{shutil.copy(empty_study, tmp_path / 'optuna.db')}"


@pytest.fixture
def opened(url, experiment):
    return study.open_study(storage.open_storage(url), "s", experiment, maximize=True)

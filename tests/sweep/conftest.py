import pytest

from cellml import config
from cellml.sweep import storage, study


@pytest.fixture
def experiment():
    return config.parse({"name": "x", "sweep": {"backbones": ["a", "b"], "strategies": ["none", "balanced"]}})


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'optuna.db'}"


@pytest.fixture
def opened(url, experiment):
    return study.open_study(storage.open_storage(url), "s", experiment, maximize=True)

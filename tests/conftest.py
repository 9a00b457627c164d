"""Shared fixtures: where real data is, and a working folder with its own tracking store."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FROM_OUTSIDE = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI")
DATA = Path(os.environ.get("CELLML_DATA", ROOT.parent / "shared" / "data"))
LONG = ("test_crash.py", "test_main.py", "test_interruption.py", "test_away.py", "test_on_ray.py", "test_kill.py")
FINISHED = ("test_main.py", "test_browser.py", "test_ensemble.py")  # of tests/e2e


def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """With `--dist loadfile`: one process takes all files that share the project `finished`, one the lab's servers."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            if file.startswith("tests/services/"):
                return "services"
            return "finished" if Path(file).name in FINISHED else file

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that two processes end at about the same time."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "services"):
            item.add_marker(pytest.mark.services)
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets; skips where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real images at {DATA}; set CELLML_DATA to their folder")
    return DATA


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A store with MLflow's tables, made once: making them takes seconds."""
    folder = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        for name in FROM_OUTSIDE:
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        from cellml.tracking import runs

        runs.connect("Default")
    return folder / "mlflow.db"


def new_store(empty: Path, folder: Path) -> None:
    """A store of its own for a folder, as MLflow would make it there."""
    with contextlib.closing(sqlite3.connect(shutil.copy(empty, folder / "mlflow.db"))) as store, store:
        store.execute("UPDATE experiments SET artifact_location = ?", (str(folder / "mlruns" / "0"),))


@pytest.fixture
def workspace(empty_database, tmp_path, monkeypatch) -> Path:
    """An empty working folder with its own MLflow store and pixel cache."""
    new_store(empty_database, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("CELLML_CACHE", str(tmp_path / "cache"))
    for name in FROM_OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def shared_workspace(empty_database, tmp_path_factory) -> Iterator[Path]:
    """As `workspace`, one for the tests of a module, with a single thread for networks this small."""
    import torch

    folder = tmp_path_factory.mktemp("workspace")
    new_store(empty_database, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("CELLML_CACHE", str(folder / "cache"))
        for name in FROM_OUTSIDE:
            patch.delenv(name, raising=False)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield folder
        torch.set_num_threads(before)

"""A copy of the project in a working folder of its own, and commands run there as a user would."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from tests.conftest import ROOT, new_store
from tests.e2e import preloaded

TINY = """
name: tiny
data: {source: simulated, group: slide, options: {count: 240, seed: 0, size: 32}}
input: {size: 32}
model: {backbone: test_resnet}
train: {epochs: 2, batch_size: 32, lr: 0.003}
sweep: {trials: 4, backbones: [test_resnet, test_efficientnet], strategies: [none, balanced]}
explain: {count: 4}
compare: {resamples: 200}
"""


REFUSE = """
import importlib.abc, json, sys
class Refuse(importlib.abc.MetaPathFinder):
    names = {"cellml", "timm", "torchvision", "lightning", "pytorch_lightning", "captum", "shap", "torchmetrics"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import mlflow, numpy as np
rng = np.random.default_rng(0)
"""


@dataclass
class Project:
    """The project's files in a folder of their own, with its own MLflow store."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        bin_folder = str(Path(sys.executable).parent)
        return kept | {"PATH": f"{bin_folder}{os.pathsep}{kept['PATH']}", "CELLML_CACHE": str(self.folder / "cache")}

    def start(self, *command: str, **extra: str) -> subprocess.Popen:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # ignored where tests run in the background
        )

    def command(self, *command: str, **extra: str) -> subprocess.CompletedProcess:
        """What a command says and how it ends, without the wait for its imports."""
        path = f"{preloaded.folder()}{os.pathsep}{self.environment['PATH']}"
        return self.ended(self.start(*command, **{"PATH": path} | extra))

    def cellml(self, *words: str, **extra: str) -> subprocess.CompletedProcess:
        return self.command("python", "-m", "cellml", *words, **extra)

    def mlflow_run(self, entry: str, *options: str, **params: str) -> subprocess.CompletedProcess:
        return self.command(*self.words(entry, *options, **params))

    @staticmethod
    def words(entry: str, *options: str, **params: str) -> list[str]:
        given = [word for key, value in params.items() for word in ("-P", f"{key}={value}")]
        return ["mlflow", "run", ".", "--env-manager", "local", "-e", entry, *options, *given]

    @staticmethod
    def ended(process: subprocess.Popen) -> subprocess.CompletedProcess:
        output, _ = process.communicate(timeout=600)
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def consume(self, code: str, python: str | Path = sys.executable) -> str:
        """What other code prints, in a process with torch, mlflow (and numpy as np, rng) but nothing of ours."""
        kept = {k: v for k, v in self.environment.items() if k != "PYTHONPATH"}
        store = f"sqlite:///{self.folder / 'mlflow.db'}"
        environment = kept | {"MLFLOW_TRACKING_URI": store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
        command = [str(python), "-c", REFUSE + code]
        done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}", f"sqlite:///{self.folder / 'mlflow.db'}")

    def runs(self, experiment: str):
        found = self.client.get_experiment_by_name(experiment)
        return list(self.client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"]))

    def all_runs(self):
        ids = [e.experiment_id for e in self.client.search_experiments()]
        return list(self.client.search_runs(ids))


def changed(folder: Path, **sections: dict[str, Any]) -> str:
    """The name of an experiment file in a folder: the tiny one with other values in some sections."""
    tree = yaml.safe_load(TINY)
    for section, values in sections.items():
        tree.setdefault(section, {}).update(values)
    (folder / "bad.yaml").write_text(yaml.safe_dump(tree))
    return "bad.yaml"


def make_project(folder: Path, empty_database: Path | None = None) -> Project:
    """The project in a folder; with a store that waits there, where tests need none of their own making."""
    if empty_database is not None:
        new_store(empty_database, folder)
    for name in ("MLproject", "conda.yaml", "cellml", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "tiny.yaml").write_text(TINY)
    return Project(folder)


@pytest.fixture
def project(tmp_path, empty_database) -> Project:
    return make_project(tmp_path, empty_database)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project after `mlflow run` of its main entry point, where nothing was before, in processes of its own."""
    project = make_project(tmp_path_factory.mktemp("finished"))
    words = project.words("main", "--experiment-name", "cells", experiment="tiny.yaml")
    done = project.ended(project.start(*words))
    assert done.returncode == 0, done.stdout
    (project.folder / "main.log").write_text(done.stdout)
    return project

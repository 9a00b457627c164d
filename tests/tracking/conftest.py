import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

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


class TrackingServer:
    """A real `mlflow server` on loopback, which can be stopped and started again with the same data."""

    def __init__(self, database, folder):
        shutil.copy(database, folder / "mlflow.db")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.url, self.process = folder, f"http://127.0.0.1:{self.port}", None
        self.database = f"sqlite:///{folder}/mlflow.db"

    def start(self, wait=True):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        stores = ["--backend-store-uri", self.database, "--artifacts-destination", str(self.folder / "artifacts")]
        env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(
                [*command, "--workers", "1", *stores],
                cwd=self.folder,
                # without seven more processes that nothing here needs
                env={**env, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(900 if wait else 0):
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None
                time.sleep(0.2)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def tracking_server(empty_database, tmp_path_factory):
    server = TrackingServer(empty_database, tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


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

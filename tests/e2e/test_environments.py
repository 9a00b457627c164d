"""Environments built anew, minutes and gigabytes each: off by default, run with `pytest -m environments`."""

import platform
import shutil
import subprocess
import sys

import mlflow
import pytest
import torch

from tests.e2e.test_main import CONSUMER

pytestmark = [pytest.mark.environments, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(("manager", "needs"), [("virtualenv", "pyenv"), ("uv", "uv")])
def test_mlflow_run_builds_its_own_environment_from_conda_yaml(project, manager, needs):
    if not shutil.which(needs):
        pytest.skip(f"--env-manager {manager} needs {needs}")
    file = project.folder / "conda.yaml"  # with the Python that is here, so that none is compiled
    text = file.read_text().replace("python=3.11", f"python={platform.python_version()}")
    file.unlink()
    file.write_text(text)
    done = project.command("mlflow", "run", ".", "--env-manager", manager, "-e", "data", "-P", "experiment=tiny.yaml")
    assert done.returncode == 0, done.stdout
    assert "train:" in done.stdout


def test_a_new_environment_with_only_torch_and_mlflow_loads_the_champion(finished, tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    wanted = [f"torch=={torch.__version__.partition('+')[0]}", f"mlflow=={mlflow.__version__}"]
    subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    assert finished.consume(CONSUMER, python).splitlines()[-1].startswith("[[[1, 5], [4, 5], [9, 5], [4, 5]]")

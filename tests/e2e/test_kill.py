"""Workers that are killed without notice, by the harness of benchmarks/kill.py, which does it 200 times."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_ten_kills_lose_no_trial_and_leave_nothing_open(tmp_path):
    asked = ["--kills", "10", "--trials", "8", "--epochs", "6", "--out", str(tmp_path / "kill.json")]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "kill.py"), *asked], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "kill.json").read_text())
    assert found["kills"] >= 8  # the sweep may end before the last
    assert (found["complete"], found["failed"]) == (8, 0)
    assert (found["orphans"], found["twice"]) == (0, 0)
    assert found["runs_finished"] == found["curves_whole"] == 8
    assert found["interrupted"] >= 1

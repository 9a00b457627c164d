"""A sweep that goes through everything at once: a worker killed in mid-trial, the servers away for a while."""

import collections
import json
import os
import signal
import subprocess
import time

import pytest
from mlflow import MlflowClient

from cellml.data import simulate
from tests.e2e.conftest import REFUSE, make_project
from tests.services.lab import SCRIPTS, end
from tests.services.test_sweep import CONSUMER

EPOCHS, TRIALS = 30, 6
EXPERIMENT = f"""
name: sturdy
data: {{source: table, table: table.csv, file: file, label: label, group: slide}}
input: {{size: 32}}
model: {{backbone: test_resnet}}
train: {{epochs: {EPOCHS}, batch_size: 32, lr: 0.003, checkpoint: 0, threads: 1}}
sweep: {{trials: {TRIALS}, workers: 0, backbones: [test_resnet], strategies: [none, balanced]}}
explain: {{count: 0}}
"""
RUNNING = """
SELECT t.trial_id, p.value_json, count(v.step) FROM trials t JOIN studies s USING (study_id)
JOIN trial_user_attributes p ON p.trial_id = t.trial_id AND p.key = 'process'
LEFT JOIN trial_intermediate_values v ON v.trial_id = t.trial_id
WHERE s.study_name LIKE 'sturdy-%' AND t.state = 'RUNNING' GROUP BY t.trial_id, p.value_json
"""


def _until(seen, what, processes, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert all(p.poll() is None for p in processes), f"a process has ended while waiting until {what}"
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def story(lab, tmp_path_factory):
    """Two workers share a sweep; one is killed in mid-trial, another takes its place; then each server goes away."""
    project = make_project(tmp_path_factory.mktemp("project"))
    simulate.write(project.folder / "cells", count=240, size=32, slides=12)
    data = lab.bucket.put(project.folder / "cells", "sturdy")
    (project.folder / "sturdy.yaml").write_text(EXPERIMENT)
    environment = project.environment | lab.environment | {"OMP_NUM_THREADS": "1"}
    started = []

    def start(name, *command):
        with open(project.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                command, cwd=project.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        started.append(process)
        return process

    def running():
        (made,) = lab.postgres.query("optuna", "SELECT to_regclass('trial_intermediate_values') IS NOT NULL")[0]
        rows = lab.postgres.query("optuna", RUNNING) if made else []
        return {json.loads(process)["pid"]: (trial, steps) for trial, process, steps in rows}

    try:
        sweep = start("sweep", "python", "-m", "cellml", "sweep", "--experiment", "sturdy.yaml", "--data", data)
        workers = [start(f"worker{k}", SCRIPTS / "worker.sh") for k in range(2)]
        processes = [sweep, *workers]
        _until(
            lambda: len([s for _, s in running().values() if 3 <= s < EPOCHS - 5]) == 2,
            "both are in a trial",
            processes,
        )
        victim, (killed, reached) = next(iter(running().items()))
        os.kill(victim, signal.SIGKILL)
        dead = next(w for w in workers if w.pid == victim)
        dead.wait(30)
        workers[workers.index(dead)] = start("worker2", SCRIPTS / "worker.sh")
        processes = [sweep, *workers]
        _until(
            lambda: len(running().keys() - {victim}) == 2,
            "it is replaced",
            processes,
        )
        lab.server.stop()
        time.sleep(20)
        lab.server.start()
        _until(lambda: len(running()) == 2, "both are in a trial again", processes)
        lab.postgres.stop()
        time.sleep(10)
        lab.postgres.start()
        sweep.wait(600)
    finally:
        for process in reversed(started):
            end(process)
    log = (project.folder / "sweep.log").read_text()
    assert sweep.returncode == 0, log + "".join(p.read_text()[-2000:] for p in project.folder.glob("worker*.log"))
    client = MlflowClient(lab.server.url, lab.server.url)
    experiment = client.get_experiment_by_name("sturdy")
    return project, client, client.search_runs([experiment.experiment_id]), (killed, reached)


def test_all_trials_finish_and_each_part_of_the_plan_once(story, lab):
    _, _, runs, _ = story
    states = lab.postgres.query(
        "optuna", "SELECT t.state FROM trials t JOIN studies s USING (study_id) WHERE s.study_name LIKE 'sturdy-%'"
    )
    assert [state for (state,) in states].count("COMPLETE") == TRIALS
    finished = [r for r in runs if r.data.tags["cellml.kind"] == "trial" and r.info.status == "FINISHED"]
    keys = collections.Counter(r.data.tags["cellml.key"] for r in finished)
    assert len(keys) == len(finished) == TRIALS
    assert not [r for r in runs if r.info.status not in ("FINISHED", "KILLED")]


def test_every_metric_is_delivered_once_and_in_order(story):
    _, client, runs, _ = story
    for run in (r for r in runs if r.data.tags["cellml.kind"] == "trial"):
        for key in ("train/loss", "val/balanced_accuracy"):
            steps = [m.step for m in client.get_metric_history(run.info.run_id, key)]
            steps = steps[:-1] if steps and steps[-1] == EPOCHS + 1 else steps  # what the model of the best epoch says
            assert steps == list(range(1, len(steps) + 1)), (run.info.run_name, key)
            if run.info.status == "FINISHED":
                assert len(steps) == EPOCHS, (run.info.run_name, key)


def test_the_killed_trial_went_on_and_its_run_was_closed(story, lab):
    _, client, runs, (killed, reached) = story
    rows = dict(
        lab.postgres.query("optuna", f"SELECT key, value_json FROM trial_user_attributes WHERE trial_id = {killed}")
    )
    assert json.loads(rows["died"]) is True
    old = client.get_run(json.loads(rows["run_id"]))
    assert old.info.status == "KILLED"
    assert "ended without notice" in old.data.tags["cellml.reason"]
    key = json.loads(rows["key"])
    (new,) = [r for r in runs if r.data.tags.get("cellml.key") == key and r.info.status == "FINISHED"]
    first = client.get_metric_history(new.info.run_id, "train/loss")
    replayed = [m for m in first if m.step <= reached - 1]
    span = (replayed[-1].timestamp - replayed[0].timestamp) / 1000
    whole = (first[-1].timestamp - first[0].timestamp) / 1000
    assert len(replayed) >= 2
    assert span < 0.2 * whole * len(replayed) / EPOCHS + 0.2  # told from the checkpoint, not trained again


def test_models_load_from_the_bucket(story, lab):
    project, client, _, _ = story
    version = client.get_model_version_by_alias("sturdy", "champion")
    assert client.get_model_version_download_uri("sturdy", version.version)
    assert [key for key in lab.bucket.keys("artifacts/") if key.endswith(".pt2")]
    code = REFUSE + CONSUMER.replace("bucketed", "sturdy")
    environment = {"MLFLOW_TRACKING_URI": lab.server.url}
    kept = {k: v for k, v in project.environment.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        ["python", "-c", code], cwd="/", env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])[0] == [4, 5]

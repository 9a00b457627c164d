"""Whatever ends a sweep, the same command continues it and no run stays RUNNING."""

import os
import signal
import sqlite3
import time

import pytest

pytestmark = pytest.mark.slow


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.05)


def started_trials(project, count):
    """Whether so many trial runs exist and the newest one is still running."""
    try:
        with sqlite3.connect(f"file:{project.folder / 'mlflow.db'}?mode=ro", uri=True) as store:
            query = "SELECT status FROM runs WHERE run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'cellml.trial')"
            statuses = [status for (status,) in store.execute(query)]
    except sqlite3.OperationalError:
        return False
    return len(statuses) >= count and "RUNNING" in statuses


def assert_complete(project, trials):
    runs = project.runs("cells")
    assert not [r for r in runs if r.info.status == "RUNNING"]
    newest = [r for r in runs if r.data.tags.get("cellml.kind") == "sweep"][-1]
    assert newest.info.status == "FINISHED"
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == newest.info.run_id]
    finished = [r for r in children if r.info.status == "FINISHED"]
    assert len(finished) == trials
    assert len({r.data.tags["cellml.cell"] for r in finished}) == trials
    return children


@pytest.mark.parametrize("workers", [1, 2])
def test_sigkill_of_the_process_group_in_mid_trial(project, workers):
    command = ["mlflow", "run", ".", "--env-manager", "local", "--experiment-name", "cells", "-e", "sweep"]
    command += ["-P", "experiment=tiny.yaml", "-P", "trials=4", "-P", f"workers={workers}", "-P", "explain.count=0"]
    process = project.start(*command)
    wait_for(lambda: started_trials(project, 2))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    done = project.command(*command)
    assert done.returncode == 0, done.stdout
    children = assert_complete(project, 4)
    assert "KILLED" in {r.info.status for r in children}
    old = [r for r in project.runs("cells") if r.data.tags.get("cellml.continued_by")]
    assert len(old) == 1


@pytest.mark.parametrize(("how", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_interrupt_of_the_process_group_closes_every_run_at_once(project, how, workers):
    command = ["python", "-m", "cellml", "sweep", "--experiment", "tiny.yaml", "--trials", "4", "--name", "cells"]
    command += ["--explain.count", "0", "--workers", str(workers)]
    process = project.start(*command)
    wait_for(lambda: started_trials(project, workers))
    os.killpg(process.pid, how)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    wait_for(lambda: {r.info.status for r in project.runs("cells")} <= {"KILLED", "FINISHED"}, 15)
    done = project.command(*command)
    assert done.returncode == 0, done.stdout
    assert_complete(project, 4)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_anything_is_imported_closes_the_run_that_mlflow_made(project, how):
    client = project.client
    run = client.create_run(client.create_experiment("cells"))
    command = ["python", "-m", "cellml", "train", "--experiment", "tiny.yaml"]
    process = project.start(*command, MLFLOW_RUN_ID=run.info.run_id)
    wait_for(lambda: held(process.pid, how))
    process.send_signal(how)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert client.get_run(run.info.run_id).info.status == "KILLED"


def held(pid, number):
    """Whether a process has blocked a signal."""
    with open(f"/proc/{pid}/status") as lines:
        (mask,) = (line.split()[1] for line in lines if line.startswith("SigBlk"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_interrupt_closes_a_pretraining(project):
    command = ["python", "-m", "cellml", "pretrain", "--experiment", "tiny.yaml", "--pretrain.epochs", "500"]
    process = project.start(*command)

    def started():
        try:
            with sqlite3.connect(f"file:{project.folder / 'mlflow.db'}?mode=ro", uri=True) as store:
                return store.execute("SELECT count(*) FROM metrics WHERE key = 'train/loss'").fetchone()[0] > 0
        except sqlite3.OperationalError:
            return False

    wait_for(started)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in output) == (130, False), output
    assert [r.info.status for r in project.runs("tiny")] == ["KILLED"]

"""Sweeps on Ray: a two-node cluster of which a node dies, and what can be told without one."""

import contextlib
import os
import signal
import sys
import time
from types import SimpleNamespace

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from cellml import config
from cellml.errors import UserError
from cellml.sweep import on_ray, queue, space
from cellml.sweep import study as studies
from cellml.sweep.work import News
from tests.e2e.conftest import make_project

SWEEP = ("sweep", "--experiment", "tiny.yaml", "--name", "cells", "--sweep.engine", "ray")
SWEEP += ("--train.epochs", "8", "--explain.count", "0")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Nothing is sent anywhere, and tasks wait for no other process of a busy machine."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture
def project(tmp_path, empty_database):
    return make_project(tmp_path, empty_database)


@pytest.fixture
def cluster(quiet):
    """A head and a second node, with room for one trial each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield SimpleNamespace(address=made.address, second=second.all_processes["raylet"][0].process.pid)
    made.shutdown()


@pytest.fixture
def opened():
    experiment = config.parse({"name": "x", "sweep": {"engine": "ray"}})
    study = studies.open_study(optuna.storages.InMemoryStorage(), "s", experiment, maximize=True)
    return experiment, study, space.plan(experiment, 3)


def trials(project):
    """What the database of the sweep holds by now."""
    with contextlib.suppress(Exception):  # not there yet
        url = f"sqlite:///{project.folder / 'optuna.db'}"
        (name,) = optuna.get_all_study_names(url)
        return optuna.load_study(study_name=name, storage=url).trials
    return []


def wait_for(found, process, seconds=600):
    end = time.monotonic() + seconds
    while not (value := found()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.1)
    return value


def on_node(project, raylet):
    """A trial that a node works on, in mid-training: its process is the node's child."""
    for trial in trials(project):
        if trial.state == TrialState.RUNNING and trial.intermediate_values:
            pid = trial.user_attrs["process"]["pid"]
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).ppid() == raylet:
                    return trial, pid
    return None


@pytest.mark.slow
def test_all_trials_finish_once_though_a_node_dies_in_mid_trial(project, cluster):
    process = project.start(sys.executable, "-m", "cellml", *SWEEP, RAY_ADDRESS=cluster.address)
    hit, pid = wait_for(lambda: on_node(project, cluster.second), process)
    for gone in (cluster.second, pid):
        os.kill(gone, signal.SIGKILL)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "trial 4/4" in output
    ended = trials(project)
    complete = [t for t in ended if t.state == TrialState.COMPLETE]
    assert len(complete) == len({t.user_attrs["key"] for t in complete}) == 4
    assert ended[hit.number].user_attrs["interrupted"]
    assert hit.user_attrs["key"] in {t.user_attrs["key"] for t in complete}
    runs = project.runs("cells")
    kinds = [(r.data.tags["cellml.kind"], r.info.status) for r in runs if r.data.tags.get("cellml.kind") == "trial"]
    assert sorted(kinds) == [("trial", "FINISHED")] * 4 + [("trial", "KILLED")]
    assert not [r for r in runs if r.info.status == "RUNNING"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_leaves_no_run_and_after_sigterm_the_same_command_continues(project, how):
    process = project.start(sys.executable, "-m", "cellml", *SWEEP)
    wait_for(lambda: [t for t in trials(project) if t.state == TrialState.RUNNING and t.intermediate_values], process)
    process.send_signal(how)
    output, _ = process.communicate(timeout=120)
    assert (process.returncode, "Traceback" in output) == (130, False), output
    assert {r.info.status for r in project.runs("cells")} <= {"KILLED", "FINISHED"}
    assert not [t for t in trials(project) if t.state == TrialState.RUNNING]
    if how == signal.SIGINT:
        return
    done = project.cellml(*SWEEP)
    assert done.returncode == 0, done.stdout
    complete = [t.user_attrs["key"] for t in trials(project) if t.state == TrialState.COMPLETE]
    assert len(complete) == len(set(complete)) == 4


def test_tasks_are_submitted_for_trials_that_have_none(opened):
    _, study, planned = opened
    queue.enqueue(study, planned)
    assert on_ray._wanted(study, planned, tasks=0) == 3
    assert on_ray._wanted(study, planned, tasks=3) == 0  # none has claimed its trial yet
    queue.claim(study, planned)
    assert on_ray._wanted(study, planned, tasks=3) == 0
    assert on_ray._wanted(study, planned, tasks=1) == 2
    for _ in planned:
        queue.claim(study, planned)
    assert on_ray._wanted(study, planned, tasks=0) == 0


def test_a_trial_queued_twice_is_wanted_once(opened):
    _, study, planned = opened
    queue.enqueue(study, planned)
    study.enqueue_trial(planned[0].params, user_attrs={"key": planned[0].key})
    assert on_ray._wanted(study, planned, tasks=0) == 3


def test_tasks_get_the_addresses_and_credentials_but_not_this_commands_run(monkeypatch):
    given = {
        "MLFLOW_TRACKING_URI": "http://lab:5000",
        "AWS_ENDPOINT_URL": "http://lab:8333",
        "CELLML_CACHE": "/scratch",
        "MLFLOW_RUN_ID": "0",
        "PATH": "/bin",
    }
    for name in [name for name in os.environ if name.startswith(on_ray.PASSED)]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    passed = on_ray._variables()
    assert {name: passed.pop(name) for name in list(given)[:3]} == dict(list(given.items())[:3])
    assert not {"MLFLOW_RUN_ID", "PATH"} & set(passed)


def test_without_ray_one_line_names_the_extra(opened, monkeypatch):
    experiment, study, planned = opened
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'cellml\[ray\]'"):
        on_ray.run(experiment, study, planned, "sqlite:///x.db", float("inf"), News(study, planned, print))


@pytest.mark.parametrize("tracking", ["sqlite:///mlflow.db", "http://lab:5000"])
def test_files_are_no_databases_for_several_machines(opened, monkeypatch, tracking):
    experiment, study, planned = opened
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    nodes = [{"Alive": True, "NodeManagerHostname": name, "Resources": {"CPU": 4}} for name in ("a", "b")]
    news = News(study, planned, print)
    ray = SimpleNamespace(nodes=lambda: nodes)
    on_several = {"sqlite:///mlflow.db": "sqlite:///mlflow.db", "http://lab:5000": "sqlite:///o.db"}[tracking]
    with pytest.raises(UserError, match=f"every machine reaches for Ray on a, b, got {on_several}"):
        on_ray._check(ray, experiment, "sqlite:///o.db" if "http" in tracking else "postgresql://lab/o", news)


def test_a_trial_that_fits_no_node_is_said(opened, monkeypatch):
    experiment, study, planned = opened
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
    nodes = [
        {"Alive": alive, "NodeManagerHostname": "a", "Resources": {"CPU": 4, "GPU": alive * 2}} for alive in (0, 1)
    ]
    monkeypatch.setenv("RAY_ADDRESS", "lab:6379")
    said = []
    for gpus in (2, 3):
        own = experiment.replace({"sweep.gpus": gpus, "sweep.cpus": 4})
        on_ray._check(SimpleNamespace(nodes=lambda: nodes), own, "grpc://lab:1", News(study, planned, said.append))
    assert said == ["no node of the cluster has 4 CPUs and 3 GPUs: waiting for one"]
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(UserError, match=r"Expected 4 CPUs and 3 GPUs for a trial .* this machine has 4 and 2; ask for"):
        on_ray._check(SimpleNamespace(nodes=lambda: nodes[1:]), own, "grpc://lab:1", News(study, planned, print))


def test_an_engine_decides_nothing_of_a_result():
    plain = config.parse({"name": "x"})
    assert plain.replace({"sweep.engine": "ray", "sweep.cpus": 4, "sweep.gpus": 1}).fingerprint() == plain.fingerprint()
    with pytest.raises(UserError, match=r"sweep\.cpus"):
        plain.replace({"sweep.cpus": 0})

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from mlflow import MlflowClient

import cellml
from cellml.config import Experiment
from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.tracking import runs
from cellml.tracking.run import Run


class PrunedError(Exception):
    pass


def stored(run):
    return MlflowClient().get_run(run.id)


def ended(experiment, error):
    """What is stored of a parent run whose block raises."""
    with pytest.raises(type(error)), runs.parent("train", experiment) as run:
        raise error
    entity = stored(run)
    return entity.info.status, entity.data.tags.get("cellml.reason"), run.artifact_names()


def test_a_parent_run_of_ones_own(store, experiment):
    with runs.parent("train", experiment, name="first", tags={"cellml.study": "s"}) as run:
        assert stored(run).info.status == "RUNNING"
    entity = stored(run)
    assert entity.info.status == "FINISHED"
    assert entity.info.run_name == "first"
    assert MlflowClient().get_experiment(run.experiment_id).name == "cells"
    assert entity.data.tags["cellml.kind"] == "train"
    assert entity.data.tags["cellml.study"] == "s"
    assert entity.data.tags["cellml.version"] == cellml.__version__
    assert entity.data.params["train.lr"] == "0.001"
    assert not [key for key in entity.data.params if key.startswith("sweep.")]
    assert run.download("config.yaml").read_text() == experiment.yaml()


def test_a_sweep_logs_its_space(store, experiment):
    swept = experiment.replace({"sweep.space": {"train.lr": {"low": 0.001, "high": 0.1}, "input.size": [32, 64]}})
    with runs.parent("sweep", swept) as run:
        pass
    assert '"low": 0.001' in stored(run).data.params["sweep.space"]


def test_under_mlflow_run_its_run_is_the_parent(store, experiment, monkeypatch):
    client = MlflowClient()
    chosen = client.create_experiment("chosen")
    made = client.create_run(chosen).info
    client.log_param(made.run_id, "train.lr", "'0.5'")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", chosen)
    with runs.parent("sweep", experiment) as run:
        assert "MLFLOW_RUN_ID" not in os.environ
        assert run == Run(made.run_id, chosen)
        with runs.child(run, "trial") as trial:
            assert trial.id != run.id
            assert trial.experiment_id == chosen
    entity = stored(run)
    assert entity.data.params["train.lr"] == "'0.5'"
    assert entity.data.params["train.epochs"] == "20"
    assert entity.info.run_name == "sweep"
    assert entity.info.status == "FINISHED"
    assert client.get_experiment_by_name("cells") is None
    with runs.parent("compare", experiment) as second:
        pass
    assert (second.id, second.experiment_id) != (run.id, chosen)
    assert second.experiment_id == chosen


def test_a_name_given_to_mlflow_run_stays(store, experiment, monkeypatch):
    made = MlflowClient().create_run("0", run_name="Monday").info
    monkeypatch.setenv("MLFLOW_RUN_ID", made.run_id)
    with runs.parent("sweep", experiment, name="other") as run:
        pass
    assert stored(run).info.run_name == "Monday"


@pytest.mark.parametrize("variable", ["MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"])
def test_a_run_or_experiment_that_does_not_exist(store, monkeypatch, variable):
    monkeypatch.setenv(variable, "1234567890")
    with pytest.raises(UserError, match="1234567890"):
        runs.connect("cells")


def test_a_deleted_experiment_is_named(store):
    client = MlflowClient()
    client.delete_experiment(client.create_experiment("cells"))
    with pytest.raises(UserError, match=r"'cells'.*restore"):
        runs.connect("cells")


def test_how_a_parent_run_ends(store, experiment):
    assert ended(experiment, UserError("Expected a\nfolder")) == ("FAILED", "Expected a folder", ["config.yaml"])
    assert ended(experiment, RuntimeError("NaN loss")) == (
        "FAILED",
        "RuntimeError: NaN loss",
        ["config.yaml", "error.txt"],
    )
    assert ended(experiment, MemoryError()) == ("FAILED", "MemoryError", ["config.yaml", "error.txt"])
    assert ended(experiment, KeyboardInterrupt()) == ("KILLED", "interrupted", ["config.yaml"])
    assert ended(experiment, SystemExit(0))[0] == "FINISHED"
    assert ended(experiment, SystemExit(3))[0] == "FAILED"


def test_the_error_is_not_hidden_by_a_store_that_went_away(store, experiment, monkeypatch):
    def work():
        with runs.parent("train", experiment):
            monkeypatch.setattr(Run, "tags", lambda *_: MlflowClient().get_run("0" * 32))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_a_child_run(store, experiment):
    with runs.parent("sweep", experiment) as above:
        with runs.child(above, "t0", {"train.lr": 0.1}, {"cellml.trial": 0}) as trial:
            trial.metrics({"val/f1": 0.5})
        with pytest.raises(PrunedError), runs.child(above, "t1", ends={PrunedError: "FINISHED"}) as pruned:
            raise PrunedError("after epoch 3")
        with pytest.raises(PrunedError), runs.child(above, "t2") as failed:
            raise PrunedError
        with runs.child(above, "t3") as closed:
            runs.close(closed.id, "KILLED", "too slow")
    records = runs.children(above)
    assert [(r.id, r.name, r.status) for r in records] == [
        (trial.id, "t0", "FINISHED"),
        (pruned.id, "t1", "FINISHED"),
        (failed.id, "t2", "FAILED"),
        (closed.id, "t3", "KILLED"),
    ]
    assert records[0].params == {"train.lr": "0.1"}
    assert records[0].metrics == {"val/f1": 0.5}
    assert records[0].tags["cellml.trial"] == "0"
    assert records[0].tags["mlflow.parentRunId"] == above.id
    assert [r.tags.get("cellml.reason") for r in records] == [
        None,
        "PrunedError: after epoch 3",
        "PrunedError",
        "too slow",
    ]


def work(above, number):
    with runs.child(above, f"t{number}") as trial:
        for step in range(10):
            trial.metrics({"val/f1": number, "val/loss": step}, step=step)
        trial.text("x", "x.txt")


def test_children_in_several_processes(store, experiment):
    with runs.parent("sweep", experiment) as above:
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=work, args=(above, number)) for number in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    found = {r.name: (r.status, r.metrics) for r in runs.children(above)}
    assert found == {f"t{n}": ("FINISHED", {"val/f1": n, "val/loss": 9}) for n in range(2)}


def test_sigterm_closes_parent_and_child(store, python_path):
    script = (
        "import time\nfrom cellml.config import Experiment\nfrom cellml.tracking import runs\n"
        "with runs.parent('sweep', Experiment(name='cells')) as p, runs.child(p, 't') as c:\n"
        "    print(p.id, c.id, flush=True)\n    while True:\n        time.sleep(0.05)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": python_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ids = process.stdout.readline().split()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "Terminated" in errors
    for run_id in ids:
        entity = MlflowClient().get_run(run_id)
        assert (entity.info.status, entity.data.tags["cellml.reason"]) == ("KILLED", "SIGTERM")
    assert len(ids) == 2


def test_the_handler_of_sigterm_is_given_back(store, experiment):
    before = signal.getsignal(signal.SIGTERM)
    with runs.parent("train", experiment):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def interruptible():
    """SIGINT raises, as in a shell; in a background job it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("number", "raised", "reason"),
    [(signal.SIGTERM, runs.Terminated, "SIGTERM"), (signal.SIGINT, KeyboardInterrupt, "interrupted")],
)
def test_a_signal_that_something_swallows_still_ends_the_runs(
    store, experiment, interruptible, opened, number, raised, reason
):
    def swallowed():
        with contextlib.suppress(KeyboardInterrupt):  # as in a destructor
            os.kill(os.getpid(), number)

    def sweep():
        with runs.parent("sweep", experiment) as parent:
            if not opened:
                swallowed()
            with runs.child(parent, "trial", {}, {}):
                assert opened, "a run began after the signal"
                swallowed()
            raise AssertionError("the runs went on after the signal")

    with pytest.raises(raised):
        sweep()
    client = MlflowClient()
    closed = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert len(closed) == 2
    for entity in closed:
        assert (entity.info.status, entity.data.tags["cellml.reason"]) == ("KILLED", reason)
    with runs.parent("sweep", experiment):
        pass  # the next command is not concerned


def test_a_second_sigterm_does_not_keep_a_run_open(store, experiment, monkeypatch):
    real = MlflowClient.set_terminated

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        real(*args)

    monkeypatch.setattr(MlflowClient, "set_terminated", interrupted)

    def work():
        with runs.parent("sweep", experiment) as above, runs.child(above, "t"):
            ids.append(above.id)
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("SIGTERM did not raise")

    ids: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(runs.Terminated):
        work()
    assert [runs.status(ids[0]), *(r.status for r in runs.children(Run(ids[0], "1")))] == ["KILLED", "KILLED"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_study_goes_on_under_a_new_parent(store, experiment, monkeypatch):
    monkeypatch.setattr(runs, "PAGE", 2)
    tags = {"cellml.study": "it's mine"}
    client = MlflowClient()
    killed = client.create_run(runs.connect("cells"), tags=tags, run_name="killed").info
    old = Run(killed.run_id, killed.experiment_id)
    done = []
    for number in range(4):
        with runs.child(old, f"t{number}", tags=tags) as trial:
            done.append(trial.id)
    left = client.create_run(old.experiment_id, tags={**tags, "mlflow.parentRunId": old.id}).info.run_id
    with (
        runs.parent("sweep", experiment, tags={"cellml.study": "another"}) as other,
        runs.child(other, "x") as untouched,
    ):
        pass
    with runs.parent("sweep", experiment, tags=tags) as new:
        with runs.child(new, "own", tags=tags) as own:
            pass
        adopted = runs.adopt(new, "it's mine")
        assert adopted == [*done, left]
        assert runs.adopt(new, "it's mine") == []
        assert runs.status(left) == "RUNNING"
        runs.close(left, "FAILED", "its process is gone")
        assert runs.status(new.id) == "RUNNING"
    assert {r.id for r in runs.children(new)} == {*done, left, own.id}
    assert {r.id for r in runs.trials(new.experiment_id, "it's mine")} == {*done, left, own.id}
    assert runs.children(old) == []
    entity = stored(old)
    assert entity.info.status == "KILLED"
    assert entity.data.tags["cellml.continued_by"] == new.id
    assert stored(untouched).data.tags["mlflow.parentRunId"] == other.id
    assert "cellml.continued_by" not in stored(other).data.tags
    assert not [r for r in client.search_runs([new.experiment_id]) if r.info.status == "RUNNING"]


def test_a_finished_parent_keeps_its_status_when_its_trials_move(store, experiment):
    tags = {"cellml.study": "s"}
    with runs.parent("sweep", experiment, tags=tags) as first, runs.child(first, "t", tags=tags):
        pass
    with runs.parent("sweep", experiment, tags=tags) as second:
        assert len(runs.adopt(second, "s")) == 1
    assert stored(first).info.status == "FINISHED"
    assert stored(first).data.tags["cellml.continued_by"] == second.id


def test_two_processes_may_make_the_experiment_at_once(store, monkeypatch):
    client = MlflowClient()
    made = client.create_experiment("cells")
    answers = iter([None])
    real = MlflowClient.get_experiment_by_name
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", lambda self, name: next(answers, real(self, name)))
    assert runs.connect("cells") == made


def test_mlflow_says_nothing(store, python_path, tmp_path):
    script = (
        "from cellml.config import Experiment\nfrom cellml.tracking import runs\n"
        "with runs.parent('train', Experiment(name='cells')) as p:\n    p.metrics({'a': 1})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": python_path, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/fresh.db"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout + done.stderr == ""


def test_an_experiment_name_with_awkward_characters(store):
    with runs.parent("train", Experiment(name="CD4+/é: (a)")) as run:
        pass
    assert MlflowClient().get_experiment(run.experiment_id).name == "CD4+/é: (a)"


def test_settings_of_a_child_are_its_own_over_its_parents(store, experiment):
    with runs.parent("sweep", experiment) as parent:
        tags = {"cellml.kind": "trial"}
        with runs.child(parent, "trial", {"train.seed": 7, "train.lr": 0.5}, tags) as child:
            pass
    flat = {key: value for key, value in experiment.flat().items() if key.startswith("input.")}
    found = runs.settings([child.id, parent.id, "0" * 32, child.id])
    own = found[child.id]
    assert (own["train.seed"], own["train.lr"], own["cellml.kind"]) == ("7", "0.5", "trial")
    assert {key: own[key] for key in flat} == {key: stored(parent).data.params[key] for key in flat}
    assert found[parent.id]["cellml.kind"] == "sweep"
    assert set(found) == {child.id, parent.id}


def test_the_rows_of_a_run_are_its_own_or_its_parents(store, experiment):
    rows = {name: ["a"] for name in ("id", "file", "label", "group", "pixels")}
    manifest = Manifest(pd.DataFrame({**rows, "split": ["train"], "row": [0]}), ("a", "b"))
    with runs.parent("sweep", experiment) as above, runs.child(above, "trial") as below:
        assert runs.manifest_of(below.id) is None
        with above.artifacts() as folder:
            (folder / "data").mkdir()
            manifest.save(folder / "data" / "manifest.parquet")
        assert runs.manifest_of(below.id).digest == runs.manifest_of(above.id).digest == manifest.digest

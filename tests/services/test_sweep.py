"""A sweep whose images, artifacts and models live in a bucket, its trials in PostgreSQL, its runs behind HTTP."""

import json
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from cellml.data import simulate
from tests.e2e.conftest import REFUSE, make_project
from tests.services.lab import plain_environment

EXPERIMENT = """
name: bucketed
data: {source: table, table: table.csv, file: file, label: label, group: slide}
input: {size: 32}
model: {backbone: test_resnet}
train: {epochs: 2, batch_size: 32, lr: 0.003}
sweep: {trials: 2, backbones: [test_resnet], strategies: [none, balanced]}
explain: {count: 2}
compare: {resamples: 200}
"""
CONSUMER = """
model = mlflow.pyfunc.load_model("models:/bucketed@champion")
p = model.predict(rng.integers(0, 256, (4, 40, 50, 3), dtype=np.uint8))
print(json.dumps([list(p.shape), float(abs(p.sum(1) - 1).max())]))
"""


@pytest.fixture(scope="module")
def swept(lab, tmp_path_factory):
    """A project after a sweep by the command, then the same by `mlflow run`; its client, the images' prefix."""
    project = make_project(tmp_path_factory.mktemp("project"))
    simulate.write(project.folder / "cells", count=120, size=32, slides=10)
    data = lab.bucket.put(project.folder / "cells", "images")
    (project.folder / "lab.yaml").write_text(EXPERIMENT)
    storage = lab.environment["CELLML_STORAGE"]
    words = ["sweep", "--experiment", "lab.yaml", "--data", data, "--storage", storage]
    done = project.cellml(*words, **lab.environment)
    assert done.returncode == 0, done.stdout
    (project.folder / "sweep.log").write_text(done.stdout)
    given = {"experiment": "lab.yaml", "data": data, "storage": storage}
    words = [word for key, value in given.items() for word in ("-P", f"{key}={value}")]
    own = ["mlflow", "run", ".", "--env-manager", "local", "-e", "sweep", "--experiment-name", "cells", *words]
    done = project.command(*own, **lab.environment)
    assert done.returncode == 0, done.stdout
    (project.folder / "run.log").write_text(done.stdout)
    return project, MlflowClient(lab.server.url, lab.server.url), data


def test_trials_finish_and_nothing_is_kept_beside_the_lab(swept):
    project, client, _ = swept
    runs = client.search_runs([client.get_experiment_by_name("bucketed").experiment_id])
    trials = [r for r in runs if r.data.tags["cellml.kind"] == "trial"]
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert {r.data.tags["cellml.strategy"] for r in trials} == {"none", "balanced"}
    (parent,) = client.search_runs(
        [client.get_experiment_by_name("cells").experiment_id], "tags.`cellml.kind` = 'sweep'"
    )
    assert parent.info.status == "FINISHED"
    for run in trials:
        history = client.get_metric_history(run.info.run_id, "val/balanced_accuracy")
        assert [m.step for m in history] == [1, 2, 3]
    names = {path.name for path in project.folder.iterdir()}
    assert not names & {"mlruns", "mlartifacts", "mlflow.db", "optuna.db"}


def test_the_study_is_in_postgresql(swept, lab):
    states = lab.postgres.query(
        "optuna",
        "SELECT t.state FROM trials t JOIN studies s USING (study_id) WHERE s.study_name LIKE 'bucketed-%'",
    )
    assert [state for (state,) in states].count("COMPLETE") == 2
    assert {state for (state,) in states} == {"COMPLETE"}


def test_artifacts_and_models_are_in_the_bucket(swept, lab):
    _, client, _ = swept
    keys = lab.bucket.keys("artifacts/")
    runs = client.search_runs([client.get_experiment_by_name("bucketed").experiment_id])
    for run in runs:
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        own = [key.partition(f"/{run.info.run_id}/artifacts/")[2] for key in keys if run.info.run_id in key]
        trial = run.data.tags["cellml.kind"] == "trial"
        assert ("weights/weights.safetensors" if trial else "config.yaml") in own
    version = client.get_model_version_by_alias("bucketed", "champion")
    model = client.get_logged_model(version.model_id or version.source.rpartition("/")[2])
    assert any(model.model_id in key and key.endswith(".pt2") for key in keys)


def test_a_model_loads_with_the_address_of_the_server_alone(swept, lab):
    kept = {k: v for k, v in plain_environment().items() if k != "PYTHONPATH"}
    environment = kept | {"MLFLOW_TRACKING_URI": lab.server.url, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    assert not [name for name in environment if name.startswith(("AWS_", "MLFLOW_S3"))]
    command = [sys.executable, "-c", REFUSE + CONSUMER]
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shape, error = json.loads(done.stdout.splitlines()[-1])
    assert shape == [4, 5]
    assert error < 1e-5


def test_each_image_is_fetched_once(swept, lab):
    project, _, _ = swept
    files = {
        f"images/{p.relative_to(project.folder / 'cells').as_posix()}" for p in (project.folder / "cells").rglob("*.*")
    }
    assert len(files) == 241
    assert dict(lab.bucket.gets("images/")) == dict.fromkeys(files, 1)


def test_a_download_goes_through_the_server_where_the_store_is_out_of_reach(swept, lab, tmp_path):
    """It sends clients to the store for files, unless theirs is MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD=false."""
    _, client, _ = swept
    experiment = client.get_experiment_by_name("bucketed").experiment_id
    run_id = client.search_runs([experiment], "tags.`cellml.kind` = 'trial'")[0].info.run_id
    code = "import sys, mlflow; mlflow.artifacts.download_artifacts(sys.argv[1], dst_path=sys.argv[2])"
    command = [sys.executable, "-c", code, f"runs:/{run_id}/weights", str(tmp_path)]
    environment = plain_environment() | {"MLFLOW_TRACKING_URI": lab.server.url}

    def sent_to_the_store(**extra):
        before = lab.server.log.read_text().count(f"{run_id}/artifacts/weights/model.json HTTP")
        subprocess.run(command, env=environment | extra, check=True, capture_output=True)
        lines = [
            line
            for line in lab.server.log.read_text().splitlines()
            if f"{run_id}/artifacts/weights/model.json HTTP" in line
        ]
        return ["/presigned/" in line for line in lines[before:]]

    assert sent_to_the_store() == [True]
    assert sent_to_the_store(MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD="false") == [False]
    assert json.loads((tmp_path / "weights" / "model.json").read_text())

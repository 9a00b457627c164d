"""Cross-validation through `mlflow run`, and the ensemble of its folds in other code."""

import pytest

pytestmark = pytest.mark.slow

CONSUMER = """
model = mlflow.pyfunc.load_model("models:/folded.test_resnet/1")
for shape in ((1, 32, 32), (4, 100, 90)):
    said = model.predict(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    assert said.shape == (shape[0], len(model.metadata.metadata["classes"]))
    assert abs(said.sum(axis=1) - 1).max() < 1e-5
assert len(model.metadata.metadata["members"]) == 2
assert model.metadata.metadata["tta"] == "d4"
"""


def test_two_folds_with_turned_views_become_one_program(project):
    values = {"train.tta": "d4", "sampling.strategy": "smote", "sampling.options": "{space: pixels, k: 3}"}
    done = project.mlflow_run("crossval", experiment="tiny.yaml", name="folded", folds="2", **values)
    assert done.returncode == 0, done.stdout
    assert "over 2 folds" in done.stdout
    assert "composition_rmse" not in done.stdout  # hard labels
    (run,) = [r for r in project.all_runs() if r.data.tags.get("cellml.kind") == "crossval"]
    assert run.info.status == "FINISHED"
    assert [m.step for m in project.client.get_metric_history(run.info.run_id, "fold/balanced_accuracy")] == [1, 2]
    kept = {item.path for item in project.client.list_artifacts(run.info.run_id, "data")}
    assert "data/synthetic.png" in kept
    project.consume(CONSUMER)


def test_too_many_folds_is_one_line(project):
    done = project.mlflow_run("crossval", experiment="tiny.yaml", folds="500")
    assert done.returncode == 1
    assert "Expected at least 500 groups" in done.stdout
    assert {r.info.status for r in project.all_runs()} == {"FAILED"}

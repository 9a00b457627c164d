import json
import shutil
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from cellml.config import Experiment
from cellml.errors import UserError
from cellml.models import classifier as classifiers
from cellml.models import ensemble
from cellml.models.ensemble import Ensemble
from cellml.tracking import export, runs


@pytest.fixture
def run(store, experiment):
    with (
        runs.parent("train", experiment) as above,
        runs.child(above, "trial", {"model.backbone": "test_resnet"}) as run,
    ):
        yield run


def close_to(program, classifier, images):
    with torch.no_grad():
        expected = classifier(torch.from_numpy(images)).numpy()
    got = program.predict(images)
    assert got.shape == (*images.shape[:-3], len(classifier.spec.classes))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(got.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "dtype", "channels", "values"),
    [
        ("test_resnet", "uint8", 3, {"crop": 40, "tta": "d4"}),
        ("test_vit", "uint16", 2, {"crop": None, "size": 96}),
        ("iresnet", "uint8", 3, {"options": {"blocks": [1, 1], "widths": [4, 6]}, "size": 18}),
        ("coupling", "uint16", 2, {"options": {"steps": [1, 1], "widths": [4, 6], "head": "gaussian"}}),
        ("autoencoder", "uint8", 3, {"options": {"widths": [4, 6], "latent": 5}, "size": 18}),
    ],
)
def test_the_program_is_the_model(run, make_classifier, make_images, monkeypatch, backbone, dtype, channels, values):
    classifier = make_classifier(backbone, dtype, channels, **values)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    uri = export.log_classifier(run, classifier, make_images((2, 64, 64, channels), dtype))
    program = mlflow.pyfunc.load_model(uri)
    for shape in [(1, 64, 64), (4, 100, 90), (9, 30, 47)]:
        close_to(program, classifier, make_images((*shape, channels), dtype, seed=1))


def test_an_ensemble_is_one_program(run, make_classifier, make_images, monkeypatch):
    """Members of different backbones, crops, sizes and views, in one model that only mlflow and torch load."""
    members = [make_classifier(crop=40, tta="d4"), make_classifier("test_efficientnet", size=48)]
    model = Ensemble(members, [0.7, 0.3], strategy="greedy", thresholds={"other": 0.25}).eval()
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    uri = export.log_classifier(run, model, make_images((2, 64, 64, 3)), {"experiment": "cells"})
    program = mlflow.pyfunc.load_model(uri)
    for shape in [(1, 64, 64), (4, 100, 90), (3, 30, 47)]:
        close_to(program, model, make_images((*shape, 3), seed=1))
    metadata = program.metadata.metadata
    assert (metadata["backbone"], metadata["strategy"], metadata["experiment"]) == ("ensemble", "greedy", "cells")
    assert (metadata["classes"], metadata["thresholds"]) == (["CD4+", "other", "é"], {"other": 0.25})
    assert [(m["backbone"], m["tta"], m["size"]) for m in metadata["members"]] == [
        ("test_resnet", "d4", 32),
        ("test_efficientnet", "none", 48),
    ]
    again = ensemble.load(run.download("weights"))
    assert again.spec == model.spec
    assert set(run.artifact_names("weights")) == {"weights/0", "weights/1", "weights/ensemble.json"}


SIZES = {"units": 6, "layers": 2, "tracker": {"encoder": [4], "hidden": [4, 6], "decoder": [4]}}


@pytest.mark.parametrize(
    ("backbone", "dtype"),
    [("test_resnet", "uint8"), ("mitosis_cnn+gru", "uint16"), ("test_resnet+tcn", "uint8"), ("tracker", "uint8")],
)
def test_the_program_of_a_sequence_model_takes_any_length(
    run, make_classifier, make_images, monkeypatch, backbone, dtype
):
    """One length a call, from one frame on; what the eager model says with its own kernels and loops."""
    model = make_classifier(backbone, dtype, 1, sequence=SIZES, tta="flips" if backbone == "tracker" else "none")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    uri = export.log_classifier(run, model, make_images((2, 3, 40, 40, 1), dtype))
    program = mlflow.pyfunc.load_model(uri)
    inputs = json.loads(program.metadata.signature.to_dict()["inputs"])
    assert inputs[0]["tensor-spec"]["shape"] == [-1, -1, -1, -1, 1]
    for shape in [(3, 1, 40, 44), (1, 2, 33, 30), (2, 5, 40, 40), (1, 40, 36, 36)]:
        close_to(program, model, make_images((*shape, 1), dtype, seed=1))
    again = ensemble.load(run.download("weights"))
    clip = torch.from_numpy(make_images((1, 4, 40, 40, 1), dtype, seed=2))
    assert torch.equal(again(clip), model(clip))


def test_an_ensemble_of_sequence_models_is_one_program(run, make_classifier, make_images):
    parts = [make_classifier(name, channels=1, sequence=SIZES) for name in ("test_resnet", "test_resnet+lstm")]
    model = Ensemble(parts, [0.5, 0.5]).eval()
    program = mlflow.pyfunc.load_model(export.log_classifier(run, model, make_images((2, 3, 40, 40, 1))))
    close_to(program, model, make_images((2, 7, 36, 40, 1), seed=1))
    with pytest.raises(UserError, match="all take images or all take sequences"):
        Ensemble([parts[0], make_classifier(channels=1)], [0.5, 0.5])


@pytest.fixture(scope="module")
def exported(empty_database, tmp_path_factory, make_classifier, make_images):
    """A run, the classifier in training mode that was exported from it, and the model's URI."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        shutil.copy(empty_database, folder / "mlflow.db")
        classifier = make_classifier(digest="d" * 32, strategy="balanced", thresholds={"CD4+": 0.25}).train()
        with runs.parent("train", Experiment(name="cells")) as run:
            run.metrics({"val/f1_macro": 0.25}, step=0)
            run.metrics({"val/f1_macro": 0.5, "train/loss": 1.0}, step=1)
            metadata = {"experiment": "cells", "score": np.float64(0.5)}
            uri = export.log_classifier(run, classifier, make_images((3, 200, 80, 3)), metadata)
        yield run, classifier, uri


def test_metadata_comes_back(exported):
    program = export.load_program(exported[2])
    metadata = program.metadata.metadata
    assert metadata["classes"] == ["CD4+", "other", "é"]
    assert (metadata["dtype"], metadata["channels"], metadata["size"]) == ("uint8", 3, 32)
    assert (metadata["digest"], metadata["strategy"], metadata["score"]) == ("d" * 32, "balanced", 0.5)
    assert (metadata["low"], metadata["high"]) == ([0.0] * 3, [255.0] * 3)
    assert metadata["thresholds"] == {"CD4+": 0.25}
    inputs = json.loads(program.metadata.signature.to_dict()["inputs"])
    assert inputs[0]["tensor-spec"] == {"dtype": "uint8", "shape": [-1, -1, -1, 3]}


def test_the_logged_model_belongs_to_its_run(exported):
    run, _, uri = exported
    client = MlflowClient()
    logged = client.get_logged_model(uri.removeprefix("models:/"))
    assert (logged.experiment_id, logged.source_run_id, logged.status) == (run.experiment_id, run.id, "READY")
    assert logged.params["train.lr"] == "0.001"
    assert {m.key: m.value for m in logged.metrics} == {"val/f1_macro": 0.5}
    assert len(client.get_metric_history(run.id, "val/f1_macro")) == 2
    assert [out.model_id for out in client.get_run(run.id).outputs.model_outputs] == [logged.model_id]


def test_a_consumer_needs_mlflow_and_torch_and_no_large_example(exported):
    folder = Path(mlflow.artifacts.download_artifacts(exported[2]))
    lines = (folder / "requirements.txt").read_text().split()
    assert [line.split("==")[0] for line in lines] == ["mlflow", "torch"]
    assert sum(path.stat().st_size for path in folder.glob("*.json")) < 200_000


def test_the_eager_model_is_rebuilt_from_the_runs_weights(exported, make_images):
    run, classifier, _ = exported
    assert set(run.artifact_names("weights")) == {"weights/weights.safetensors", "weights/model.json"}
    again = classifiers.load(run.download("weights"))
    assert again.spec == classifier.spec
    saved = classifier.state_dict()
    assert all(torch.equal(saved[key], value) for key, value in again.state_dict().items())


def test_exporting_leaves_the_classifier_alone(exported, make_classifier):
    assert exported[1].training
    before = make_classifier().state_dict()
    assert all(torch.equal(before[key], value) for key, value in exported[1].state_dict().items())


def test_a_machine_with_a_gpu_loads_it_on_the_cpu(exported, make_classifier, make_images, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    close_to(mlflow.pyfunc.load_model(exported[2]), make_classifier(), make_images((3, 40, 40, 3)))


def test_weights_of_a_trial_are_not_written_again(run, make_classifier, make_images):
    export.log_weights(run, make_classifier(strategy="first"))
    export.log_classifier(run, make_classifier(strategy="second"), make_images((2, 40, 40, 3)))
    assert classifiers.load(run.download("weights")).spec.strategy == "first"


class Wrapped(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net


class Noisy(Wrapped):
    def forward(self, x):
        return torch.nn.functional.dropout(self.net(x), 0.5, training=True) * 20


class Frozen(Wrapped):
    def forward(self, x):
        return torch.cat([self.net(x[i : i + 1]) for i in range(x.shape[0])])


class Unexportable(Wrapped):
    def forward(self, x):
        return self.net(x) if x.mean().item() > 0 else -self.net(x)


@pytest.mark.parametrize(
    ("wrapper", "message"), [(Noisy, "differs from the model"), (Frozen, "fails"), (Unexportable, "cannot be exported")]
)
def test_a_program_that_is_not_the_model_is_not_logged(run, make_classifier, make_images, wrapper, message):
    classifier = make_classifier()
    classifier.net = wrapper(classifier.net).eval()
    with pytest.raises(export.ExportError, match=message) as error:
        export.log_classifier(run, classifier, make_images((2, 40, 40, 3)))
    assert "\n" not in str(error.value)
    assert "test_resnet" in str(error.value)
    assert MlflowClient().search_logged_models([run.experiment_id]) == []
    assert run.artifact_names() == []


def test_an_ensemble_with_a_member_that_cannot_be_exported_names_the_backbones(run, make_classifier, make_images):
    bad = make_classifier("test_efficientnet")
    bad.net = Unexportable(bad.net).eval()
    with pytest.raises(export.ExportError, match="'test_resnet' with 'test_efficientnet' cannot be exported"):
        export.log_classifier(run, Ensemble([make_classifier(), bad], [0.5, 0.5]), make_images((2, 40, 40, 3)))
    assert run.artifact_names() == []


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 8, 8, 3), "uint8"), ((2, 8, 8, 1), "uint8"), ((2, 8, 8, 3), "uint16")]
)
def test_an_example_that_does_not_fit(run, make_classifier, make_images, shape, dtype):
    with pytest.raises(ValueError, match="expected"):
        export.log_classifier(run, make_classifier(), make_images(shape, dtype))

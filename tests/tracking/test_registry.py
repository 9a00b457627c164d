import shutil

import numpy as np
import pytest
from mlflow import MlflowClient

from cellml.config import Experiment
from cellml.errors import UserError
from cellml.models import classifier as classifiers
from cellml.tracking import catalog, export, registry, runs
from cellml.tracking.names import model_name

CELLS = [("test_resnet", "none"), ("test_resnet", "balanced"), ("torchvision/x", "none"), ("torchvision/x", "none")]


@pytest.fixture(scope="module")
def filled(empty_database, tmp_path_factory, make_classifier, make_images):
    """A store with one logged model, a version of it for each of CELLS, and the same under the experiment's name."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        shutil.copy(empty_database, folder / "mlflow.db")
        with runs.parent("sweep", Experiment(name="my_cells")) as run:
            uri = export.log_classifier(run, make_classifier(), make_images((2, 40, 40, 3)))
            for backbone, strategy in CELLS:
                tags = {registry.EXPERIMENT: "my_cells", registry.BACKBONE: backbone, registry.STRATEGY: strategy}
                version = registry.register(uri, model_name("my_cells", backbone), tags)
                if backbone == "test_resnet" and strategy == "none":
                    registry.set_alias(model_name("my_cells", backbone), "champion", version)
            registry.register(uri, model_name("my_cells"), alias="champion", description="best of all")
            registry.register(
                uri, model_name("my_cells", "v2.resnet"), {registry.EXPERIMENT: "my_cells.v2"}, "champion"
            )
            registry.register(uri, model_name("myxcells", "resnet"), {registry.EXPERIMENT: "myxcells"}, "champion")
        yield run, uri


def found(which, experiment="my_cells"):
    return [(entry.backbone, entry.strategy, entry.version) for entry in registry.entries(experiment, which)]


def test_entries(filled, monkeypatch):
    assert found("champions") == [("test_resnet", "none", "1")]
    assert found("cells") == [
        ("test_resnet", "none", "1"),
        ("test_resnet", "balanced", "2"),
        ("torchvision/x", "none", "2"),
    ]
    assert len(found("all")) == 4
    uris = "models:/my_cells@champion, models:/my_cells.torchvision-0x2F-x/1"
    assert [entry.uri for entry in registry.entries("any", uris)] == [
        "models:/my_cells/1",
        "models:/my_cells.torchvision-0x2F-x/1",
    ]


def test_an_entry_knows_its_run_and_metadata(filled):
    run, uri = filled
    entry = registry.resolve("models:/my_cells@champion")
    assert (entry.run_id, entry.source, entry.aliases) == (run.id, uri, ("champion",))
    assert entry.metadata["classes"] == ["CD4+", "other", "é"]
    assert entry.backbone == "test_resnet"
    assert registry.resolve("models:/my_cells.test_resnet/2").aliases == ()
    assert registry.resolve("models:/my_cells.test_resnet/2").source == uri


def test_one_logged_model_under_several_names_is_stored_once(filled):
    run, _ = filled
    assert len(MlflowClient().search_logged_models([run.experiment_id])) == 1


def test_entries_of_many_models_are_found_in_two_queries(filled, monkeypatch):
    asked = []
    for name in ("search_registered_models", "search_model_versions"):
        real = getattr(MlflowClient, name)
        monkeypatch.setattr(MlflowClient, name, lambda *given, real=real, name=name: asked.append(name) or real(*given))
    assert len(found("all")) == 4
    assert sorted(asked) == ["search_model_versions", "search_registered_models"]


def test_versions_are_found_by_tags_of_any_text(filled):
    _, uri = filled
    for value in ("it's", 'the "best"', "both ' and \"", "a%b_c"):
        version = registry.register(uri, "quoted", {"own": value, "other": "x"})
        assert [entry.version for entry in registry.versions("quoted", {"own": value})] == [version]
    assert registry.versions("quoted", {"own": "A%B_C"}) == []
    assert len(registry.versions("quoted", {"other": "x"})) == 4


def test_all_pages_are_read(filled, monkeypatch):
    _, uri = filled
    monkeypatch.setattr(catalog, "PAGE", 2)
    for backbone in "abcde":
        registry.register(uri, model_name("many", backbone), {registry.EXPERIMENT: "many"}, alias="champion")
    for _ in range(3):
        registry.register(uri, model_name("many", "e"), {registry.EXPERIMENT: "many"})
    assert [e.name for e in registry.entries("many", "champions")] == [f"many.{backbone}" for backbone in "abcde"]
    assert [(e.name, e.version) for e in registry.entries("many", "all")][4:] == [("many.e", v) for v in "1234"]


def test_versions_of_which_none_is_a_champion(filled):
    _, uri = filled
    registry.register(uri, model_name("trained", "a"), {registry.EXPERIMENT: "trained"})
    with pytest.raises(UserError, match=r"got 1 versions without that alias.*entries=all"):
        registry.entries("trained", "champions")
    assert len(registry.entries("trained", "all")) == 1


@pytest.mark.parametrize(
    ("experiment", "which", "message"),
    [
        ("unknown", "champions", "'unknown'.*found none.*sweep"),
        ("my_cells", "champion", "champions, cells, all"),
        ("my_cells", "models:/my_cell@champion", "did you mean 'my_cells'"),
        ("my_cells", "models:/my_cells@winner", "my_cells.*@champion"),
        ("my_cells", "models:/my_cells/9", r"has no such version.*has 1"),
        ("my_cells", "models:/my_cells", "NAME@ALIAS"),
        ("my_cells", "models:/my_cells@champion,other", "got 'other'"),
    ],
)
def test_entries_that_do_not_exist(filled, experiment, which, message):
    with pytest.raises(UserError, match=message) as error:
        registry.entries(experiment, which)
    assert "\n" not in str(error.value)


def test_an_empty_registry_says_so(store):
    with pytest.raises(UserError, match="nothing is registered"):
        registry.predictor("models:/a@champion")


def test_a_predictor(filled, make_images, make_classifier):
    predictor = registry.predictor("models:/my_cells@champion")
    assert (predictor.classes, predictor.dtype, predictor.channels) == (("CD4+", "other", "é"), "uint8", 3)
    images = make_images((7, 50, 41, 3))
    got = predictor.predict(images, batch_size=3)
    expected = make_classifier()(classifiers.torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(
        predictor.predict(images[:, ::-1][:, :, ::2]), predictor.predict(images[:, ::-1, ::2].copy())
    )


@pytest.mark.parametrize(("shape", "dtype"), [((2, 8, 8, 3), "uint16"), ((2, 8, 8, 1), "uint8"), ((8, 8, 3), "uint8")])
def test_images_that_a_model_does_not_take(filled, make_images, shape, dtype):
    with pytest.raises(UserError, match=r"Expected .*3.* uint8"):
        registry.predictor("models:/my_cells@champion").predict(make_images(shape, dtype))


def test_weights_behind_a_model(filled, make_classifier):
    folder = registry.weights_folder("models:/my_cells.test_resnet@champion")
    state = classifiers.load(folder).state_dict()
    assert all(classifiers.torch.equal(value, state[key]) for key, value in make_classifier().state_dict().items())


def test_weights_of_a_model_from_elsewhere(filled, tmp_path):
    client = MlflowClient()
    client.create_registered_model("foreign")
    client.create_model_version("foreign", str(tmp_path), run_id=client.create_run("0").info.run_id)
    client.create_model_version("foreign", str(tmp_path))
    for version in (1, 2):
        with pytest.raises(UserError, match="weights/"):
            registry.weights_folder(f"models:/foreign/{version}")


def test_descriptions(filled):
    client = MlflowClient()
    registry.describe_models(["my_cells", "my_cells.test_resnet"], "| a |\n" * 2000)
    text = client.get_registered_model("my_cells.test_resnet").description
    assert len(text) <= 5000
    assert set(text.split("\n")) == {"| a |", "", "(cut here)"}
    registry.describe_models(["my_cells"], "short")
    assert client.get_registered_model("my_cells").description == "short"
    assert client.get_model_version("my_cells", "1").description == "best of all"


def test_a_name_that_a_database_does_not_keep(filled):
    with pytest.raises(UserError, match="256"):
        registry.register(filled[1], "x" * 257)


def test_of_two_processes_that_register_one_trial_the_first_stands(filled, monkeypatch):
    _, uri = filled
    name, tags = model_name("my_cells", "twice"), {"cellml.run_id": "r1"}
    assert registry.register(uri, name, tags, once="cellml.run_id") == "1"
    assert registry.register(uri, name, tags, once="cellml.run_id") == "1"
    assert registry.register(uri, name, {"cellml.run_id": "r2"}, alias="champion", once="cellml.run_id") == "3"
    assert [entry.version for entry in registry.versions(name)] == ["1", "3"]
    assert registry.register(uri, name, tags, alias="champion", once="cellml.run_id") == "1"
    assert registry.resolve(f"models:/{name}@champion").version == "1"

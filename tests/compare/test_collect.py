import dataclasses
import types

import numpy as np
import pytest
import torch

from cellml.compare import collect, cost
from cellml.compare.cost import Cost
from cellml.data.external import External
from cellml.data.prepare import Dataset
from cellml.errors import UserError
from cellml.models import classifier as classifiers
from cellml.tracking import registry
from tests.compare.conftest import entry, manifest

CLASSES = ("a", "b", "c")


class Pixels:
    """Images in memory with the pixel cache's face."""

    def __init__(self, images):
        self._images = images
        self.dtype, self.channels = str(images[0].dtype), images[0].shape[2]
        self.shapes = np.array([image.shape for image in images])

    def __getitem__(self, row):
        return self._images[row]

    def images(self, rows):
        return [self._images[int(row)] for row in rows]


class Model:
    """A predictor whose probabilities are a function of an image's mean, so that a mixed-up row shows."""

    def __init__(self, uri, classes=CLASSES, dtype="uint8", channels=1, digest=""):
        self.entry = types.SimpleNamespace(uri=uri)
        self.classes, self.dtype, self.channels = classes, dtype, channels
        self.metadata = {"digest": digest}
        self.calls = []
        self.sequential = False

    def predict(self, images, batch_size=64):
        self.calls.append(images.shape)
        if self.sequential:  # each frame's say depends on where it stands in time
            return np.stack([[expected(image // (t + 1)) for t, image in enumerate(one)] for one in images])
        return np.stack([expected(image) for image in images]).astype(np.float32)


def expected(image):
    share = image.mean() / 255
    return np.array([share, (1 - share) / 4, (1 - share) * 3 / 4])


@pytest.fixture
def rows():
    return manifest(CLASSES, n=23)


@pytest.fixture
def dataset(rows):
    rng = np.random.default_rng(0)
    shapes = [(8, 8, 1) if i % 3 else (6, 9, 1) for i in range(60)]
    images = [rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes]
    train = manifest(CLASSES, n=30, seed=1)
    train = train.with_column("id", [f"train-{i}" for i in range(30)]).with_column("split", ["train"] * 30)
    train = train.with_column("pixels", [f"{i + 500:032x}" for i in range(30)])
    return Dataset(train, Pixels(images), None)


@pytest.fixture
def serve(monkeypatch):
    """Put predictors behind URIs; counts parameters of nothing."""

    def put(*models):
        known = {model.entry.uri: model for model in models}
        monkeypatch.setattr(registry, "predictor", lambda uri: known[uri])
        monkeypatch.setattr(collect, "_module", lambda entry: None)
        monkeypatch.setattr(cost, "measure", lambda call, model, images, on, known: Cost(1.5, len(images), len(known)))

    return put


def test_rows_keep_their_order_over_batches_of_equal_shape(rows, dataset, serve, monkeypatch):
    shuffled = rows.with_column("row", np.random.default_rng(3).permutation(60)[:23])
    one = entry("net")
    model = Model(one.uri)
    serve(model)
    monkeypatch.setattr(collect, "BATCH", 4)
    (found,) = collect.evaluate([one], dataset, shuffled)
    wanted = np.stack([expected(dataset.pixels[row]) for row in shuffled.rows])
    np.testing.assert_allclose(found.predictions.probabilities, wanted, atol=1e-6)
    assert found.predictions.ids.tolist() == shuffled.ids.tolist()
    assert found.predictions.targets.tolist() == shuffled.targets.tolist()
    assert {shape[1:] for shape in model.calls} == {(8, 8, 1), (6, 9, 1)}
    assert max(shape[0] for shape in model.calls) == 4
    assert found.name == "cells.net v1"


def test_frames_go_through_in_order_of_time_one_length_a_call(rows, dataset, serve):
    """Three sequences of 9, 9 and 5 frames of one shape, mixed up in the manifest; costs are by the frame."""
    names, frames = np.repeat(["x", "y", "z"], [9, 9, 5]), np.r_[:9, :9, :5]
    order = np.random.default_rng(5).permutation(23)
    alike = np.flatnonzero(np.arange(60) % 3 > 0)[:23]
    given = rows.with_column("row", alike).with_column("sequence", names[order]).with_column("frame", frames[order])
    one = entry("net")
    model = Model(one.uri)
    model.sequential = True
    serve(model)
    (found,) = collect.evaluate([one], dataset, given)
    wanted = [expected(dataset.pixels[row] // (frame + 1)) for row, frame in zip(given.rows, given.frames, strict=True)]
    np.testing.assert_allclose(found.predictions.probabilities, wanted, atol=1e-6)
    assert found.predictions.frames.tolist() == given.frames.tolist()
    assert model.calls[0] == (1, 64, 8, 8, 1)
    assert sorted(model.calls[1:3]) == [(1, 5, 8, 8, 1), (2, 9, 8, 8, 1)]
    with pytest.raises(UserError, match=r"models of images for images by themselves, got models:/cells\.net/1, which"):
        collect.evaluate([one], dataset, rows)


def test_costs_are_measured_on_images_of_the_commonest_shape_with_what_was_timed_before(
    rows, dataset, serve, monkeypatch
):
    one = entry("net")
    model = Model(one.uri)
    serve(model)
    monkeypatch.setattr(collect, "BATCH", 4)
    mixed = rows.with_column("row", np.array([1] * 14 + [0] * 9))
    (found,) = collect.evaluate([one], dataset, mixed)
    assert model.calls[0] == (4, 8, 8, 1)
    assert found.cost == Cost(1.5, 4, 3)  # parameters, images of a call, of 3 full calls with 8 x 8 pixels
    few = collect.evaluate([one], dataset, rows.where([0]))[0].cost
    assert few == Cost(1.5, 4, 0)


def test_external_sets_are_predicted_by_every_model_in_the_same_load(rows, dataset, serve):
    rng = np.random.default_rng(4)
    elsewhere = Pixels([rng.integers(0, 256, (5, 5, 1)).astype(np.uint8) for _ in range(9)])
    external = External("there", manifest(CLASSES, n=9), elsewhere)
    one = entry("net")
    serve(Model(one.uri, classes=("c", "a", "b")))
    (found,) = collect.evaluate([one], dataset, rows, [external])
    wanted = np.stack([expected(elsewhere[i]) for i in range(9)])[:, [1, 2, 0]]
    np.testing.assert_allclose(found.external["there"].probabilities, wanted, atol=1e-6)
    assert found.external["there"].targets.tolist() == external.manifest.targets.tolist()
    assert len(found.predictions) == 23


def test_classes_in_another_order_are_put_right(rows, dataset, serve):
    one, other = entry("straight"), entry("turned")
    serve(Model(one.uri), Model(other.uri, classes=("b", "a", "c")))
    straight, turned = collect.evaluate([one, other], dataset, rows)
    assert turned.predictions.classes == CLASSES
    np.testing.assert_array_equal(turned.predictions.probabilities[:, [1, 0, 2]], straight.predictions.probabilities)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "d"), ("a", "b", "c", "d")])
def test_other_classes_are_refused_naming_both(rows, dataset, serve, classes):
    one = entry("net")
    serve(Model(one.uri, classes=classes))
    with pytest.raises(UserError) as error:
        collect.evaluate([one], dataset, rows)
    assert str(list(CLASSES)) in str(error.value)
    assert str(list(classes)) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("dtype", "channels"), [("uint16", 1), ("uint8", 3)])
def test_other_images_are_refused_before_any_call(rows, dataset, serve, dtype, channels):
    one = entry("net")
    model = Model(one.uri, dtype=dtype, channels=channels)
    serve(model)
    with pytest.raises(UserError, match=rf"1-channel uint8 .* {channels}-channel {dtype}"):
        collect.evaluate([one], dataset, rows)
    assert not model.calls


def test_no_probabilities_are_refused(rows, dataset, serve):
    one = entry("net")
    model = Model(one.uri)
    model.predict = lambda images, batch_size=64: np.full((len(images), 3), np.nan)
    serve(model)
    with pytest.raises(UserError, match="sum to 1"):
        collect.evaluate([one], dataset, rows)


def test_nothing_to_compare(rows, dataset):
    with pytest.raises(UserError, match="0 models"):
        collect.evaluate([], dataset, rows)


def test_one_version_is_run_once_and_one_logged_model_too(rows, dataset, serve):
    one = entry("net", source="models:/m-1")
    alias = entry("other", source="models:/m-1")
    model = Model(one.uri)
    serve(model)
    found = collect.evaluate([one, one, alias], dataset, rows)
    assert [result.name for result in found] == ["cells.net v1", "cells.other v1"]
    assert found[0].predictions is found[1].predictions


def test_training_rows_that_are_known_and_apart_need_no_warning(rows, dataset, serve):
    one = entry("net")
    serve(Model(one.uri, digest=dataset.manifest.split("train").digest))
    assert collect.evaluate([one], dataset, rows)[0].warnings == ()


@pytest.mark.parametrize("known", [{}, {"a": 0.2, "b": 0.3, "c": 0.5}])
def test_operating_thresholds_come_with_the_model(rows, dataset, serve, known):
    one = entry("net")
    model = Model(one.uri)
    model.metadata |= {"thresholds": known} if known else {}
    serve(model)
    assert collect.evaluate([one], dataset, rows)[0].thresholds == known


def test_unknown_training_rows_are_recorded(rows, dataset, serve):
    one = entry("net")
    serve(Model(one.uri, digest="0123456789abcdef"))
    (warning,) = collect.evaluate([one], dataset, rows)[0].warnings
    assert "01234567" in warning


@pytest.mark.parametrize("member", [False, True])
def test_rows_that_starting_weights_saw_are_told_where_they_are_unknown(rows, dataset, serve, member):
    one, own = entry("net"), dataset.manifest.split("train").digest
    model = Model(one.uri, digest=own)
    started = {"earlier": [own, "0123456789abcdef"]}
    model.metadata |= {"members": [{"digest": own}, started]} if member else started
    serve(model)
    (warning,) = collect.evaluate([one], dataset, rows)[0].warnings
    assert "its starting weights were trained on other rows" in warning
    assert "01234567" in warning
    assert own[:8] not in warning


def test_test_images_among_the_training_rows_are_counted(rows, dataset, serve):
    one = entry("net")
    pixels = [*rows.table["pixels"][:4], *dataset.manifest.table["pixels"][4:]]
    ids = [*rows.ids[:1], *dataset.manifest.ids[1:]]
    train = dataset.manifest.with_column("pixels", pixels).with_column("id", ids)
    serve(Model(one.uri, digest=train.digest))
    found = collect.evaluate([one], dataclasses.replace(dataset, manifest=train), rows)[0].warnings
    assert [warning.split()[0] for warning in found] == ["1", "3"]


def test_the_model_behind_an_entry_is_rebuilt_from_its_weights(tmp_path, monkeypatch):
    spec = classifiers.Spec("test_resnet", CLASSES, 1, "uint8", 32, None, (0.0,), (255.0,), (0.5,), (1.0,))
    torch.manual_seed(0)
    built = classifiers.build(spec).eval()
    classifiers.save(built, tmp_path)
    monkeypatch.setattr(registry, "weights_folder", lambda uri: tmp_path)
    images = torch.randint(0, 256, (2, 20, 20, 1), dtype=torch.uint8)
    assert torch.equal(collect._module(entry("net"))(images), built(images))


def test_without_weights_there_is_none(monkeypatch):
    def refuse(uri):
        raise UserError("no weights")

    monkeypatch.setattr(registry, "weights_folder", refuse)
    assert collect._module(entry("net")) is None

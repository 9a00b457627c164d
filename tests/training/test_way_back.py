import pytest

from cellml.models.ensemble import Ensemble
from cellml.training import way_back
from cellml.training.job import initial
from tests.training.helpers import experiment


@pytest.fixture
def classifier(tiny):
    def make(name, **options):
        settings = experiment(**{"model.backbone": name, "model.options": options})
        train = tiny.manifest.split("train")
        return initial(settings, train, tiny.pixels.resized(None, 24, train.rows), None)

    return make


def test_an_invertible_network_comes_back_and_others_have_no_way(tiny, classifier):
    rows, model = tiny.manifest.split("val"), classifier("iresnet", blocks=[1, 1], widths=[4, 6]).train()
    assert 0 < way_back.round_trip(model, tiny, rows, "cpu") < 1e-4
    assert model.training
    assert way_back.round_trip(classifier("test_resnet"), tiny, rows, "cpu") is None


def test_an_ensemble_is_as_exact_as_its_worst_member(tiny, classifier, monkeypatch):
    small = {"steps": [1], "widths": [4]}
    good, bad = classifier("coupling", **small), classifier("coupling", **small)
    monkeypatch.setattr(bad.net, "decode", lambda z: 0.5 * type(bad.net).decode(bad.net, z))
    found = way_back.round_trip(Ensemble([good, bad], [0.5, 0.5]), tiny, tiny.manifest.split("val"), "cpu")
    assert found == pytest.approx(0.5, abs=1e-4)

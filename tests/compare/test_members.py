"""What networks of an ensemble give alone, against the networks themselves and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from cellml import config
from cellml.compare import members, report, table, words
from cellml.config import Compare
from cellml.data.external import External
from cellml.data.prepare import prepare
from cellml.models.classifier import Spec, build
from cellml.models.ensemble import Ensemble
from cellml.training.predict import predict
from tests.compare.conftest import evaluated

EXPERIMENT = {
    "name": "drawn",
    "split": {"test": 0.3},
    "data": {"source": "simulated", "options": {"count": 60, "size": 32, "slides": 12}},
}


def test_each_network_says_what_it_says_by_itself(tmp_path):
    dataset = prepare(config.parse(EXPERIMENT), tmp_path)
    test = dataset.manifest.split("test")
    torch.manual_seed(0)
    spec = Spec("test_resnet", test.classes, 3, "uint8", 32, None, (0.0,) * 3, (255.0,) * 3, (0.5,) * 3, (0.3,) * 3)
    networks = [build(spec).eval() for _ in range(3)]
    ensemble = Ensemble(networks, [0.5, 0.3, 0.2])
    other = External("there", dataset.manifest.split("val"), dataset.pixels)
    found = members.predictions(ensemble, dataset, test, [other], "cpu")
    for name, rows in (("", test), ("there", other.manifest)):
        for network, said in zip(networks, found[name], strict=True):
            expected = predict(network, dataset, rows, device="cpu").probabilities
            np.testing.assert_allclose(said.probabilities, expected, atol=1e-6)
    assert members.predictions(networks[0], dataset, test, []) == {}
    assert members.predictions(None, dataset, test, []) == {}
    turned = replace(test, classes=test.classes[::-1])
    assert members.predictions(ensemble, dataset, turned, []) == {}


@pytest.fixture
def three(test_rows):
    return [evaluated(test_rows, "net", 1 + k / 2, seed=k).predictions for k in range(3)]


def test_the_table_is_mean_and_deviation_of_each_network_s_scores(three):
    built = members.table({("cells.net", "1"): {members.OWN: three, "there": three[:2]}})
    assert built[["model", "version", "set", "n"]].values.tolist() == [
        ["cells.net", "1", "", 3],
        ["cells.net", "1", "there", 2],
    ]
    balanced = [balanced_accuracy_score(one.targets, one.predicted) for one in three]
    areas = [roc_auc_score(one.targets, one.probabilities, multi_class="ovr", average="macro") for one in three]
    for name, values in (("balanced_accuracy", balanced), ("auroc", areas)):
        assert built.loc[0, name] == pytest.approx(np.mean(values))
        assert built.loc[0, f"{name}_sd"] == pytest.approx(np.std(values, ddof=1))
    line = words.alone(built.to_dict("records")[1])
    assert line.startswith("cells.net v1: its 2 networks alone on there: balanced accuracy ")
    assert f"{np.mean(balanced[:2]):.3f} +- {np.std(balanced[:2], ddof=1):.3f}" in line


def test_ensembles_alone_have_a_table_and_a_section(test_rows, train_counts, three, tmp_path):
    settings = Compare(resamples=100)
    models = [evaluated(test_rows, "net", 2), evaluated(test_rows, "other", 1, seed=4)]
    for place, wanted in ((0, False), (1, True)):
        alone = members.table({("cells.net", "1"): {members.OWN: three}} if wanted else {})
        ranked = table.build(models, test_rows, train_counts, settings)
        benchmark = report.Benchmark("cells", ranked, models, test_rows, settings, train_counts, members=alone)
        report.write(tmp_path / str(place), benchmark)
        assert (tmp_path / str(place) / "members.csv").exists() == wanted
        assert ("Single networks of ensembles" in (tmp_path / str(place) / "report.html").read_text()) == wanted

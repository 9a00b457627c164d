import numpy as np
import pytest
from scipy import stats

from cellml.compare import against, table
from cellml.config import Compare
from cellml.evaluation import delong
from tests.compare.conftest import evaluated, manifest

SETTINGS = Compare(resamples=400)
TWO = ("normal", "rare")
COUNTS = {"normal": 3, "rare": 1}


def build(skills, classes=TWO, **settings):
    test = manifest(classes)
    models = [evaluated(test, f"net{i}", skill, seed=i) for i, skill in enumerate(skills)]
    counts = dict.fromkeys(classes, 1) | {classes[0]: 2}
    return models, table.build(models, test, counts, Compare(resamples=400, **settings))


def test_holm_is_over_the_models_without_the_baseline():
    _, built = build([3, 2.5, 1, 0])
    p = built["p_vs_best"].to_numpy()[1:4]
    expected = np.empty(3)
    worst = 0.0
    for place, k in enumerate(np.argsort(p)):
        worst = max(worst, min(1, (3 - place) * p[k]))
        expected[k] = worst
    assert built["p_holm"].tolist() == pytest.approx([np.nan, *expected, np.nan], nan_ok=True)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "log_loss"])
def test_places_are_of_models_alone_and_the_best_leads(metric):
    _, built = build([3, 2, 1, 0], metric=metric)
    places = np.array(built.attrs["ranks"])
    assert places.shape == (4, 4)
    np.testing.assert_allclose([*places.sum(0), *places.sum(1)], 1)
    assert built["rank_1"][:4].sum() == pytest.approx(1)
    assert built["rank_1"].idxmax() == 0
    assert (np.diff(built["expected_rank"][:4]) > 0).all()
    assert built[list(against.COLUMNS[1:])].iloc[-1].isna().all()


def test_secondary_tests_are_of_all_images_against_the_best():
    models, built = build([2, 1.2])
    best, other = sorted(models, key=lambda one: one.entry.name != built["model"][0])
    truth = best.predictions.targets
    scores = np.stack([one.predictions.probabilities[:, 1] for one in (best, other)])
    assert built["p_delong_ungrouped"][1] == pytest.approx(delong.p_values(scores, truth == 1)[1])
    right = [one.predictions.predicted == truth for one in (best, other)]
    alone = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    assert built["p_mcnemar_ungrouped"][1] == pytest.approx(stats.binomtest(alone[0], sum(alone)).pvalue)
    assert built["p_mcnemar_mid_ungrouped"][1] < built["p_mcnemar_ungrouped"][1]
    assert build([2, 1], ("a", "b", "c"))[1]["p_delong_ungrouped"].isna().all()

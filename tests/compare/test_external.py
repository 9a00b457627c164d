import dataclasses

import numpy as np
import pytest
from sklearn import metrics as sk

from cellml.compare import table
from cellml.config import Compare
from cellml.data.external import External
from cellml.errors import UserError
from tests.compare.conftest import NASTY, elsewhere, manifest

SETTINGS = Compare(resamples=200)


@pytest.fixture
def built(models, test_rows, train_counts):
    external, models = elsewhere(models)
    return external, models, table.build(models, test_rows, train_counts, SETTINGS, externals=[external])


def test_columns_of_a_set_stand_last_and_change_nothing_before_them(built, models, test_rows, train_counts):
    _, _, found = built
    plain = table.build(models, test_rows, train_counts, SETTINGS)
    own = len(plain.columns)
    assert found[found.columns[:own]].equals(plain)
    shown = "n accuracy f1 balanced_accuracy balanced_accuracy_low balanced_accuracy_high auroc"
    rarest = plain.attrs["rarest"]
    assert list(found.columns[own:]) == [f"there_{key}" for key in [*shown.split(), f"recall_{rarest}", "digest"]]


def test_scores_elsewhere_are_scikit_learns(built):
    external, models, found = built
    truth = external.manifest.targets
    rarest = found.attrs["rarest"]
    for one in models:
        row = found[found["model"] + found["version"] == one.entry.name + one.entry.version].iloc[0]
        said, p = one.external["there"].predicted, one.external["there"].probabilities
        assert row["there_balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, said))
        assert row["there_auroc"] == pytest.approx(sk.roc_auc_score(truth, p, multi_class="ovr"))
        assert row["there_f1"] == pytest.approx(sk.f1_score(truth, said, average="macro"))
        recalls = sk.recall_score(truth, said, average=None)
        assert row[f"there_recall_{rarest}"] == pytest.approx(recalls[NASTY.index(rarest)])
    assert found["there_n"].tolist() == [60] * 5
    assert set(found["there_digest"]) == {external.manifest.digest}
    assert found["there_balanced_accuracy"].iloc[-1] == 0.25


def test_the_interval_is_of_resampled_images(built):
    external, models, found = built
    one = models[1]
    rng = np.random.default_rng(3)
    truth, said = external.manifest.targets, one.external["there"].predicted
    sampled = []
    for _ in range(2000):
        rows = rng.integers(0, 60, 60)
        sampled.append(np.mean([(said[rows] == k)[truth[rows] == k].mean() for k in np.unique(truth[rows])]))
    row = found[found["model"] == one.entry.name].iloc[0]
    assert row["there_balanced_accuracy_low"] == pytest.approx(np.percentile(sampled, 2.5), abs=0.03)
    assert row["there_balanced_accuracy_high"] == pytest.approx(np.percentile(sampled, 97.5), abs=0.03)


def test_average_ranks_are_over_all_sets(built):
    _, models, found = built
    sets = found.attrs["sets"]
    assert sets.sets == ("", "there")
    own, other = found["balanced_accuracy"][:4], found["there_balanced_accuracy"][:4]
    ranked = [[1 + (s > v).sum() + ((s == v).sum() - 1) / 2 for v in s] for s in (own, other)]
    np.testing.assert_allclose(sets.average, np.mean(ranked, axis=0))
    assert sets.difference == pytest.approx(2.569 * np.sqrt(4 * 5 / 12), abs=0.01)
    plain = [dataclasses.replace(one, external={}) for one in models]
    rows = manifest(NASTY)
    assert table.build(plain, rows, {NASTY[0]: 1}, SETTINGS).attrs["sets"] is None


def test_one_model_has_no_ranks(test_rows, train_counts, models):
    external, (one, *_) = elsewhere(models)
    assert table.build([one], test_rows, train_counts, SETTINGS, externals=[external]).attrs["sets"] is None


def test_a_class_that_is_not_there_is_missing_not_zero(models, test_rows, train_counts):
    external, models = elsewhere(models)
    rarest = min(test_rows.counts, key=test_rows.counts.get)
    mask = external.manifest.targets != NASTY.index(rarest)
    part = External("there", external.manifest.where(mask), None)
    models = [dataclasses.replace(one, external={"there": one.external["there"].where(mask)}) for one in models]
    found = table.build(models, test_rows, train_counts, SETTINGS, externals=[part])
    assert found[f"there_recall_{rarest}"].isna().all()
    assert found["there_balanced_accuracy"].notna().all()


def test_a_name_that_makes_a_column_twice_is_refused(models, train_counts):
    rows = manifest(("n", "b"))
    external, models = elsewhere(models, "recall", ("n", "b"))
    models = [dataclasses.replace(one, predictions=one.external["recall"]) for one in models]
    same = external.manifest
    with pytest.raises(UserError, match="'recall_n' again; rename it"):
        table.build(models, same, {"n": 3, "b": 1}, SETTINGS, externals=[external])
    assert len(rows)

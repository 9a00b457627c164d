import numpy as np
import pytest

from cellml.errors import UserError
from cellml.training import folds
from tests.training.helpers import experiment


@pytest.fixture(scope="module")
def crossed(tiny):
    settings = experiment(train__folds=3, train__repeats=2, train__epochs=1)
    seen = []
    rows = tiny.manifest.split("train", "val")
    done = folds.cross_validate(
        settings, tiny, rows, on_fold=lambda number, fit: seen.append((number, fit)), progress=False
    )
    return rows, done, seen


def test_every_row_is_judged_once_a_repeat_by_a_network_that_never_saw_it(crossed):
    rows, done, _ = crossed
    assert done.division.shape == (2, len(rows))
    assert len(done.fits) == 6
    for number, fitted in enumerate(done.fits):
        judged = done.division[number // 3] == number % 3
        assert np.array_equal(fitted.validation.ids, rows.ids[judged])
        assert sum(fitted.counts["before"].values()) == (~judged).sum()
    assert not np.array_equal(*done.division)


def test_out_of_fold_predictions_are_the_mean_over_the_repeats(crossed):
    rows, done, _ = crossed
    assert np.array_equal(done.predictions.ids, rows.ids)
    for row in (0, 17, 40):
        said = [f.validation.probabilities[f.validation.ids == rows.ids[row]] for f in done.fits]
        assert sum(len(one) for one in said) == 2
        assert np.allclose(done.predictions.probabilities[row], np.concatenate(said).mean(axis=0))


def test_folds_are_reported_as_they_finish(crossed):
    _, done, seen = crossed
    assert [number for number, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert [fit for _, fit in seen] == done.fits


def test_a_division_keeps_groups_and_copies_together_and_ignores_the_order(tiny):
    rows = tiny.manifest.with_column("group", [f"g{i // 4}" for i in range(len(tiny.manifest))])
    (fold,) = folds.divide(rows, 4, 1, 0)
    for group in set(rows.groups):
        assert len(set(fold[rows.groups == group])) == 1
    for name in rows.classes:
        of_class = rows.table["label"] == name
        assert np.bincount(fold[of_class], minlength=4).min() >= of_class.sum() / 4 - 4
    order = np.random.default_rng(0).permutation(len(rows))
    (again,) = folds.divide(rows.where(order), 4, 1, 0)
    assert np.array_equal(again, fold[order])


def test_more_folds_than_groups(tiny):
    rows = tiny.manifest.with_column("group", np.arange(len(tiny.manifest)) % 3)
    with pytest.raises(UserError, match="Expected at least 4 groups"):
        folds.divide(rows, 4, 1, 0)

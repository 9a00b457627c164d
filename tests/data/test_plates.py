import numpy as np
import pandas as pd
import pytest

from cellml.data import plates
from cellml.errors import UserError


def dealt(count=3, replicates=4, number=5):
    return plates.layout([f"t{n}" for n in range(count)], number, replicates, np.random.default_rng(0))


@pytest.mark.parametrize(("replicates", "rows", "columns"), [(4, 4, 6), (20, 8, 12), (100, 16, 24)])
def test_wells_lie_once_each_on_the_smallest_plate_that_holds_them(replicates, rows, columns):
    wells = dealt(replicates=replicates, number=2)
    assert not wells.duplicated(["plate", "well"]).any()
    assert (wells.groupby(["plate", "treatment"]).size() == replicates).all()
    row, column = wells["well"].str[0].map(ord) - ord("A"), wells["well"].str[1:].astype(int) - 1
    assert row.between(0, rows - 1).all()
    assert column.between(0, columns - 1).all()
    rim = row.isin([0, rows - 1]) | column.isin([0, columns - 1])
    assert rim.tolist() == wells["edge"].tolist()


def test_plates_have_different_layouts():
    wells = dealt(replicates=8)
    assert wells.groupby("plate")["treatment"].agg(tuple).nunique() == 5


def test_more_wells_than_the_largest_plate_has_are_an_error():
    with pytest.raises(UserError, match="at most 384 wells"):
        dealt(count=4, replicates=97)


def test_without_strength_all_wells_are_alike():
    look = plates.looks(dealt(), 0, np.random.default_rng(1))
    assert (look["gain"] == 1).all()
    assert (look["background"] == 1).all()
    assert not look["slope"].any()
    assert not look["defocus"].any()


def test_plates_differ_more_than_their_wells_and_the_rim_is_dim():
    wells = dealt(replicates=20, number=40)
    gain = np.log(plates.looks(wells, 1, np.random.default_rng(2))["gain"][:, 0])
    inner = pd.Series(gain[~wells["edge"]]).groupby(wells["plate"][~wells["edge"]].to_numpy())
    assert inner.mean().std() > 1.5 * inner.std().mean()
    rim = pd.Series(gain).groupby([wells["plate"], wells["edge"]]).mean().unstack()
    assert np.isclose((rim[True] - rim[False]).mean(), -0.08, atol=0.01)

import numpy as np
import pytest

from cellml.evaluation import populations
from tests.evaluation import helpers


def test_populations_are_the_groups_of_several_rows_in_order():
    p = helpers.given(
        [-1, -1, 0, -1, 1, 0],
        [[0.2, 0.8], [0.4, 0.6], [1, 0], [0.5, 0.5], [0.3, 0.7], [0.9, 0.1]],
        soft_targets=[[0.5, 0.5], [0.5, 0.5], [1, 0], [0.1, 0.9], [0, 1], [1, 0]],
        groups=["w2", "w2", "w1", "w3", "w1", "w1"],
    )
    found = populations.find(p)
    assert found.names == ("w1", "w2")
    assert [rows.tolist() for rows in found.rows] == [[2, 4, 5], [0, 1]]
    np.testing.assert_allclose(found.true, [[2 / 3, 1 / 3], [0.5, 0.5]])
    np.testing.assert_allclose(found.predicted, [[2.2 / 3, 0.8 / 3], [0.3, 0.7]])
    error = 2 * (0.2 / 3) ** 2 + 2 * 0.2**2
    assert populations.rmse(p) == pytest.approx(np.sqrt(error / 2))


@pytest.mark.parametrize(
    "p", [helpers.make(20, groups=3), helpers.soft(9, wells=10**6), helpers.soft(5).where(np.zeros(5, dtype=bool))]
)
def test_hard_labels_and_single_rows_make_no_population(p):
    assert len(populations.find(p)) == 0
    assert populations.find(p).true.shape == (0, 3)
    assert np.isnan(populations.rmse(p))

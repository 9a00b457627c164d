import numpy as np
import pytest
from sklearn import metrics as oracle

from cellml.evaluation import confusion


def test_matrix_is_scikit_learns():
    rng = np.random.default_rng(0)
    true, said = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    np.testing.assert_array_equal(
        confusion.matrix(true, said, 6), oracle.confusion_matrix(true, said, labels=list(range(6)))
    )


@pytest.mark.parametrize("name", ["accuracy", "recall", "precision", "f1", "mcc"])
def test_a_stack_is_scored_like_each_of_its_matrices(name):
    stack = np.random.default_rng(1).integers(0, 4, (20, 3, 3)).astype(float)
    stack[:5, 1] = 0
    figure = getattr(confusion, name)
    np.testing.assert_array_equal(figure(stack), [figure(one) for one in stack])


def test_an_absent_class_has_no_figure_even_where_it_was_predicted():
    counts = np.array([[3.0, 1, 1], [0, 2, 2], [0, 0, 0]])
    for figure in (confusion.recall, confusion.precision, confusion.f1):
        assert np.isnan(figure(counts)).tolist() == [False, False, True]


def test_a_present_class_never_predicted_has_precision_and_f1_of_zero():
    counts = np.array([[4.0, 0], [3, 0]])
    assert confusion.precision(counts).tolist() == [4 / 7, 0]
    assert confusion.f1(counts)[1] == 0


def test_macro_without_any_figure_is_nan():
    assert np.isnan(confusion.macro(np.array([np.nan, np.nan])))


def test_mcc_of_constant_predictions_is_zero():
    assert confusion.mcc(np.array([[5.0, 0], [7, 0]])) == 0
    assert confusion.mcc(np.array([[5.0, 2], [0, 0]])) == 0

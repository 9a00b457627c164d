import numpy as np
import pytest
from sklearn.decomposition import PCA

from cellml.errors import UserError
from cellml.evaluation import latent
from tests.evaluation.test_figures import rendered, texts


@pytest.mark.parametrize("shape", [(50, 8), (6, 30)])
def test_components_are_those_of_scikit_learn(shape):
    x = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    scores, shares = latent.principal(x, 3)
    oracle = PCA(3, svd_solver="full").fit(x)
    np.testing.assert_allclose(np.abs(scores), np.abs(oracle.transform(x)), atol=1e-9)
    np.testing.assert_allclose(shares, oracle.explained_variance_ratio_)


def test_signs_do_not_depend_on_the_order_of_rows():
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    np.testing.assert_allclose(latent.principal(x)[0][::-1], latent.principal(x[::-1])[0], atol=1e-6)


def test_what_does_not_vary_has_no_share():
    scores, shares = latent.principal(np.ones((3, 1)))
    assert not scores.any()
    assert shares.tolist() == [0, 0]
    with pytest.raises(UserError, match="at least 2 embeddings"):
        latent.principal(np.ones((1, 4)))


def test_the_map_counts_classes_and_names_shares():
    x = np.diag([3.0, 1.0, 0.0, 0.0]).repeat(2, axis=0) * np.tile([1, -1], 4)[:, None]
    figure = latent.figure(x, np.array([0, 0, 1, 1, 1, -1, -1, -1]), ("a", "b"), "Map")
    assert rendered(figure).width == 704
    assert {"a (2)", "b (3)", "unknown (3)", "Map"} <= set(texts(figure))
    assert figure.axes[0].get_xlabel() == "Principal component 1 (90.0 % of the variance)"
    assert "needs two images" in texts(latent.figure(x[:1], np.array([0]), ("a",), ""))[0]

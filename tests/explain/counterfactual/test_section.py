import numpy as np
import pytest
from sklearn.decomposition import PCA

from cellml.explain.counterfactual import section


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], 40)
    centres = np.array([[0, 0, 0, 0, 0], [3, 0, 0, 0, 0], [0, 0, 5, 0, 0.0]])
    return centres[classes] + rng.normal(size=(120, 5)) * [0.5, 2, 0.5, 0.1, 0.1], classes


def test_the_plane_holds_both_means_and_the_largest_variance_beside(cloud):
    x, classes = cloud
    found = section.plane(x, classes, 0, 1)
    means = [x[classes == k].mean(0) for k in (0, 1)]
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(found.points(found.project(np.array(means))), means, atol=1e-12)
    u = (means[1] - means[0]) / np.linalg.norm(means[1] - means[0])
    rest = (x - x.mean(0)) @ (np.eye(5) - np.outer(u, u))
    v = PCA(1).fit(rest).components_[0]
    assert abs(v @ found.axes[1]) == pytest.approx(1)
    whole = ((x - x.mean(0)) ** 2).sum()
    assert found.shares[1] == pytest.approx((((x - x.mean(0)) @ v) ** 2).sum() / whole)


def test_the_boundary_of_a_linear_rule_is_where_it_should_be(cloud):
    x, classes = cloud
    found = section.plane(x, classes, 0, 1)
    rule = lambda points: points @ found.axes[0] * 2 + points @ found.axes[1] - 1  # noqa: E731
    heights = np.array([-1.0, 0.0, 2.5, 1e9])
    crossing = section.boundary(rule, found, heights, 50.0)
    places = np.stack([crossing, heights], axis=1)[:3]
    np.testing.assert_allclose(rule(found.points(places)), 0, atol=1e-6)
    assert np.isnan(crossing[3])


def test_classes_without_difference_have_no_plane(cloud):
    x, _ = cloud
    with pytest.raises(ValueError, match="different means"):
        section.plane(np.concatenate([x, x]), np.repeat([0, 1], len(x)), 0, 1)


def test_the_figure_shows_every_class_and_pictures_that_do_not_hide_each_other(cloud):
    x, classes = cloud
    found = section.plane(x, classes, 0, 1)
    pictures = [np.full((8, 8, 3), 90 * k, np.uint8) for k in classes]
    figure = section.figure(
        found, lambda points: points @ found.axes[0], x, classes, ["DS", "TT", "WT"], (0, 1), pictures, pictures[:5]
    )
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["DS", "TT", "WT"]
    at = np.array([box.xy for box in ax.artists])
    span = np.array([np.diff(ax.get_xlim())[0], np.diff(ax.get_ylim())[0]])
    gaps = np.linalg.norm((at[:, None] - at[None]) / span, axis=2) + np.eye(len(at))
    assert len(at) > 5
    assert gaps.min() > 0.1
    assert "DS" in ax.get_xlabel()

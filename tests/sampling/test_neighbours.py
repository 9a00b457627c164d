import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.neighbors import NearestNeighbors

from cellml.sampling import neighbours
from cellml.sampling.neighbours import Neighbours, nearest

rng = np.random.default_rng(0)


@pytest.mark.parametrize(("n", "dim", "k"), [(300, 7, 6), (60, 3, 60), (500, 120, 11), (5, 2, 9), (1, 4, 2)])
def test_neighbours_are_scikit_learns(n, dim, k):
    among, queries = rng.normal(size=(n, dim)), rng.normal(size=(40, dim))
    distances, found = nearest(queries, among, k)
    expected = NearestNeighbors(n_neighbors=min(k, n), algorithm="brute").fit(among).kneighbors(queries)
    np.testing.assert_array_equal(found, expected[1])
    np.testing.assert_allclose(distances, expected[0], rtol=1e-9)


@pytest.mark.parametrize("chunk", [1, 1000])
def test_chunks_do_not_matter(chunk, monkeypatch):
    among = rng.normal(size=(70, 5))
    whole = nearest(among, among, 4)
    monkeypatch.setattr(neighbours, "_CHUNK", chunk)
    monkeypatch.setattr(neighbours, "_GATHERED", chunk)
    for ours, expected in zip(nearest(among, among, 4), whole, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_of_equally_near_points_the_first_is_taken():
    grid = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])
    distances, found = nearest(np.zeros((1, 2)), grid, 4)
    assert found.tolist() == [[0, 5, 1, 2]]
    assert distances.tolist() == [[0, 0, 1, 1]]


def test_points_too_close_for_single_precision_are_told_apart():
    """All candidates look alike in single precision, so that more of them must be looked at."""
    far = np.concatenate([np.full((1, 3), 1e3), np.full((1, 3), -1e3)])
    close = np.arange(100)[::-1, None] * 1e-5 * np.ones((1, 3)) + 900
    among = np.concatenate([far, close])
    queries = np.full((1, 3), 900.0)
    distances, found = nearest(queries, among, 5)
    assert found.tolist() == [[101, 100, 99, 98, 97]]
    np.testing.assert_allclose(distances[0], np.arange(5) * 1e-5 * np.sqrt(3), atol=1e-12)


def test_many_equal_points_come_to_an_end():
    among = np.ones((1500, 4))
    distances, found = nearest(among[:3], among, 3)
    assert (distances == 0).all()
    assert all(len(set(row)) == 3 for row in found.tolist())


def mixtures(count, n):
    i, j, share = rng.integers(0, n, count), rng.integers(0, n, count), rng.uniform(size=count)
    where = (np.tile(np.arange(count), 2), np.concatenate([i, j]))
    return sparse.csr_array(sparse.coo_array((np.concatenate([1 - share, share]), where), shape=(count, n)))


def test_points_are_mixtures_of_rows():
    features = rng.normal(size=(30, 4)).astype(np.float32)
    among, queries = mixtures(50, 30), mixtures(8, 30)
    ours = Neighbours(features, 6).fit(among)
    peer = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(among @ features.astype(np.float64))
    expected = peer.kneighbors(queries @ features.astype(np.float64))
    distances, found = ours.kneighbors(queries)
    np.testing.assert_array_equal(found, expected[1])
    np.testing.assert_allclose(distances, expected[0], rtol=1e-9)
    np.testing.assert_array_equal(ours.kneighbors(queries, 2, return_distance=False), expected[1][:, :2])
    np.testing.assert_array_equal(ours.kneighbors()[1][:, 0], np.arange(50))
    graph = peer.kneighbors_graph(queries @ features.astype(np.float64))
    np.testing.assert_array_equal(ours.kneighbors_graph(queries).toarray(), graph.toarray())


def test_fewer_points_give_fewer_columns():
    found = Neighbours(np.eye(3), 6).fit(sparse.csr_array(np.eye(3))).kneighbors(return_distance=False)
    assert found.shape == (3, 3)


def test_clones_share_the_features():
    features = np.ones((2, 2))
    copy = clone(Neighbours(features, 3))
    assert copy.features is features
    assert copy.n_neighbors == 3
    assert copy.set_params(n_jobs=2).n_jobs == 2

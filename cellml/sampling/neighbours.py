"""Exact nearest neighbours without a matrix of all distances, as scikit-learn and imbalanced-learn want them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from torch import Tensor

_CHUNK = 1 << 24  # distances held at a time
_GATHERED = 1 << 23  # feature values held at a time while distances are computed again
_SPARE = 8  # candidates looked at beyond those asked for, at first
_MOST = 512  # candidates of one row, at most: beyond, rows are as good as equally far


class Neighbours(BaseEstimator):
    """Nearest neighbours of points that are given as mixtures of real rows; takes the place of `NearestNeighbors`.

    Points are rows of a sparse matrix whose product with the features is where they lie: row i of the identity is
    real row i. imbalanced-learn thus works on the small sparse matrix, and what it interpolates tells its parents.
    Where fewer points were fitted than neighbours are asked for, there are as many columns as points.
    """

    def __init__(self, features: npt.NDArray[np.floating], n_neighbors: int = 5, n_jobs: int | None = None) -> None:
        """`features` is (N, D), shared by clones; `n_neighbors` includes the point itself; `n_jobs` is not used."""
        self.features = features
        self.n_neighbors = n_neighbors
        self.n_jobs = n_jobs

    def __sklearn_clone__(self) -> "Neighbours":
        return Neighbours(self.features, self.n_neighbors, self.n_jobs)

    def fit(self, X: sparse.csr_array, y: object = None) -> "Neighbours":
        """Remember the (M, N) points to look among."""
        self.shares_, self.fitted_ = X, self._place(X)
        return self

    def kneighbors(
        self, X: sparse.csr_array | None = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """The fitted points nearest to the (Q, N) points given.

        Returns:
            Positions (Q, k), nearest first; with `return_distance`, distances (Q, k) before them.
        """
        queries = self.fitted_ if X is None else self._place(X)
        real = (self.shares_, self.features) if self.shares_.shape[0] > self.shares_.shape[1] else None
        distances, found = nearest(queries, self.fitted_, n_neighbors or self.n_neighbors, real)
        return (distances, found) if return_distance else found

    def kneighbors_graph(self, X: sparse.csr_array | None = None, n_neighbors: int | None = None) -> sparse.csr_array:
        """Ones where a fitted point is among the nearest of a given one, (Q, M)."""
        found = self.kneighbors(X, n_neighbors, return_distance=False)
        queries, k = found.shape
        ends = np.arange(0, queries * k + 1, k)
        return sparse.csr_array((np.ones(found.size), found.ravel(), ends), shape=(queries, len(self.fitted_)))

    def _place(self, X: sparse.csr_array) -> npt.NDArray[np.float64]:
        return np.asarray(X @ np.asarray(self.features, dtype=np.float64))


def nearest(
    queries: npt.NDArray[np.floating],
    among: npt.NDArray[np.floating],
    k: int,
    real: tuple[sparse.csr_array, npt.NDArray[np.floating]] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The k points nearest to each query, by Euclidean distance, of equally near ones the first.

    Candidates come from products in single precision; their distances are computed again in double precision, and a
    row whose candidates may miss a nearer point, by a bound of the products' error, gets more of them.

    Args:
        queries: (Q, D).
        among: (M, D).
        k: at most M are returned.
        real: shares (M, N) and features (N, D) whose product `among` is, where N is much smaller than M: the products
            of these then do.

    Returns:
        Distances and positions, (Q, min(k, M)), nearest first.
    """
    k = min(k, len(among))
    points, wanted = (torch.from_numpy(np.ascontiguousarray(a, dtype=np.float64)) for a in (among, queries))
    centre = points.mean(0)
    points, wanted = points - centre, wanted - centre  # distances lose fewer digits around zero
    longest = float(points.square().sum(1).max().sqrt())
    distances = torch.empty(len(wanted), k, dtype=torch.float64)
    found = torch.empty(len(wanted), k, dtype=torch.int64)
    if real is None:
        products = partial(_direct, points.float())
    else:
        base = torch.from_numpy(np.asarray(real[1], dtype=np.float64)) - centre
        products = partial(_through, real[0].astype(np.float32), base.float())
        longest = float(base.square().sum(1).max().sqrt())
    open_, candidates = torch.arange(len(wanted)), k + _SPARE
    while len(open_):
        candidates = min(candidates, len(points))
        sure = _search(wanted, points, products, longest, open_, candidates, distances, found)
        if candidates >= min(_MOST, len(points)):
            break
        open_, candidates = open_[~sure], candidates * 4
    return distances.sqrt().numpy(), found.numpy()


def _direct(points: Tensor, asked: Tensor) -> Tensor:
    return asked @ points.T


def _through(shares: sparse.csr_array, base: Tensor, asked: Tensor) -> Tensor:
    return torch.from_numpy(shares @ (base @ asked.T).numpy()).T.contiguous()


def _search(
    wanted: Tensor,
    points: Tensor,
    products: Callable[[Tensor], Tensor],
    longest: float,
    chosen: Tensor,
    candidates: int,
    distances: Tensor,
    found: Tensor,
) -> Tensor:
    """Fill the chosen rows of `distances` (squared) and `found`; which of them are proved right, (C,) bool."""
    k = found.shape[1]
    norms = points.square().sum(1).float()
    rounding = (points.shape[1] + 8) * 2.0**-23
    sure = []
    for rows in chosen.split(max(1, _CHUNK // len(points))):
        asked = wanted[rows]
        length = asked.square().sum(1)
        rough = products(asked.float()).mul_(-2).add_(norms)
        short = rough.topk(candidates, dim=1, largest=False)
        exact, order = _ranked(asked, points, short.indices)
        distances[rows], found[rows] = exact[:, :k], order[:, :k]
        error = rounding * (length.sqrt() + longest) ** 2
        left_out = short.values[:, -1].double() + length - error  # no other point is nearer
        sure.append((exact[:, k - 1] < left_out) | (candidates == len(points)))
    return torch.cat(sure)


def _ranked(asked: Tensor, points: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances (C, S) in double precision and positions, nearest first, equally near ones by position."""
    candidates = candidates.sort(1).values
    size = max(1, _GATHERED // (candidates.shape[1] * points.shape[1]))
    parts = zip(asked.split(size), candidates.split(size), strict=True)
    exact = torch.cat([points[near].sub_(query[:, None]).square_().sum(2) for query, near in parts])
    exact, order = exact.sort(dim=1, stable=True)
    return exact, candidates.gather(1, order)

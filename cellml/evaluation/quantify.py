"""What a population consists of, corrected for what a classifier is known to get wrong."""

import numpy as np
import numpy.typing as npt
from scipy import optimize

Array = npt.NDArray[np.float64]
STEPS = 2000  # of expectation maximisation, at most
CONDITION = 20.0  # beyond this, an error of one in a hundred in the counts becomes one of a fifth in the shares
CLOSE = 1e-9  # shares that move by less have converged


def adjusted_count(shares: npt.ArrayLike, counts: npt.ArrayLike) -> Array:
    """Shares of the true classes from the shares of the predicted ones, by the classifier's known confusions.

    Adjusted count (Forman 2008, Data Min. Knowl. Discov. 17:164) for any number of classes: with rates M[j, i] =
    P(predicted j | true i), the point x of the simplex with the smallest |M x - q|, which is M^-1 q where that lies on
    the simplex. As the entries of x sum to 1, it is the convex combination of M's columns less q that is nearest to 0,
    and one non-negative least-squares problem has it exactly.

    Args:
        shares: (K,) q, the share of images that was called each class.
        counts: (K, K) confusion matrix of validation rows, rows are true classes.

    Returns:
        (K,) summing to 1; NaN where a class has no validation rows, or where the classifier hardly tells classes apart
        (condition number of M above `CONDITION`).
    """
    matrix, q = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    support = matrix.sum(1)
    if not (support > 0).all():
        return np.full(len(q), np.nan)
    rates = (matrix / support[:, None]).T
    if np.linalg.cond(rates) > CONDITION:
        return np.full(len(q), np.nan)
    apart = rates - q[:, None]
    found, _ = optimize.nnls(np.vstack([apart, np.ones(len(q))]), np.append(np.zeros(len(q)), 1.0))
    return found / found.sum()


def prior_corrected(probabilities: Array, prior: npt.ArrayLike) -> Array:
    """The most likely shares of the classes among images whose probabilities assume the training rows' shares.

    Expectation maximisation of Saerens, Latinne and Decaestecker 2002 (Neural Comput. 14:21): the probabilities times
    (shares / prior), made to sum to 1, have the shares as their mean.

    Args:
        probabilities: (N, K), N >= 1.
        prior: (K,) mass of each class among the rows trained on; a class of none is given none.

    Returns:
        (K,) summing to 1.
    """
    mass = np.asarray(prior, dtype=np.float64)
    trained = mass > 0
    likelihood = np.divide(probabilities, mass / mass.sum(), out=np.zeros_like(probabilities), where=trained)
    shares = mass / mass.sum()
    for _ in range(STEPS):
        joint = likelihood * shares
        total = joint.sum(1, keepdims=True)
        moved = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0).mean(0)
        moved = moved / moved.sum() if moved.sum() else shares
        close = np.abs(moved - shares).max() < CLOSE
        shares = moved
        if close:
            break
    return shares

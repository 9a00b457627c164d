"""McNemar's test of two models on the same images, right against wrong. It knows no groups: images count alone."""

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


def p_values(correct: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Two-sided p of the difference in accuracy between each model and the first one.

    Of the b + c images that only one of the two gets right, b is Binomial(b + c, 1/2) under no difference (McNemar
    1947, Psychometrika 12:153): the exact conditional p, and the mid-p, which counts outcomes as likely as the one seen
    half (Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13:91).

    Args:
        correct: (M, N) whether each model classifies each image right.

    Returns:
        exact p and mid-p, (M,) each; 1 where no image tells two models apart, NaN for the first.
    """
    b, c = (correct[0] & ~correct).sum(axis=1), (~correct[0] & correct).sum(axis=1)
    fewer, count = np.minimum(b, c), b + c
    exact = np.minimum(1, 2 * stats.binom.cdf(fewer, count, 0.5))
    seen = stats.binom.pmf(fewer, count, 0.5)
    mid = np.where(b == c, 1 - seen / 2, exact - seen)
    mid = np.where(count == 0, 1.0, mid)
    exact[0] = mid[0] = np.nan
    return exact, mid

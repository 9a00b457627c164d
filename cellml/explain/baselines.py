"""Maps that look at no model: what every method has to beat."""

import numpy as np
import numpy.typing as npt

from cellml.explain.base import Attribution

NAMES = ("random", "centre")


def random(classes: npt.ArrayLike, size: tuple[int, int], seed: int = 0) -> Attribution:
    """Maps of independent uniform noise.

    Args:
        classes: (N,) index of the class each map claims to explain.
        size: H and W in pixels.
        seed: of the noise.

    Returns:
        Maps of (N, H, W) in [0, 1), method "random".
    """
    wanted = np.asarray(classes, dtype=np.int64)
    return Attribution(np.random.default_rng(seed).random((len(wanted), *size), dtype=np.float32), wanted, "random")


def centre(classes: npt.ArrayLike, size: tuple[int, int]) -> Attribution:
    """Maps that always point at the middle: a Gaussian whose standard deviation is a quarter of each side.

    Args:
        classes: (N,) index of the class each map claims to explain.
        size: H and W in pixels.

    Returns:
        Maps of (N, H, W) in (0, 1], the same for every image, method "centre".
    """
    wanted = np.asarray(classes, dtype=np.int64)
    rows, columns = (np.exp(-8 * ((np.arange(side) + 0.5) / side - 0.5) ** 2) for side in size)
    one = np.outer(rows, columns).astype(np.float32)
    return Attribution(np.repeat(one[None], len(wanted), axis=0), wanted, "centre")

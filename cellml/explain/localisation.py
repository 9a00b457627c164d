"""Do maps point at the part of the image that a mask marks?"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from cellml.explain import curves

Array = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]


def pointing(maps: npt.NDArray[np.float32], masks: Masks, *, tolerance: float | None = None, seed: int = 0) -> Array:
    """Pointing game: does the map's highest pixel lie in the mask, or near it?

    Zhang et al. 2018, Int. J. Comput. Vis. 126:1084, arXiv 1608.00507. Of several highest pixels a random one counts,
    so that a constant map points anywhere.

    Args:
        maps: (N, H, W) signed.
        masks: (N, H, W) bool; without a marked pixel where there is none.
        tolerance: distance to the mask, in pixels, that still is a hit; None for 15 pixels in images of 224 (the
            paper's), in proportion to the shorter side: 6.4 in images of 96, 2.7 in images of 40.
        seed: of the choice among the highest.

    Returns:
        (N,) 1 for a hit, 0 for a miss, NaN where there is no mask.
    """
    reach = min(maps.shape[1:]) * 15 / 224 if tolerance is None else tolerance
    peaks = curves.ranks(maps, seed).reshape(len(maps), -1).argmin(axis=1)
    hits = np.full(len(maps), np.nan)
    for k in np.flatnonzero(masks.any(axis=(1, 2))):
        hits[k] = distance_transform_edt(~masks[k]).ravel()[peaks[k]] <= reach
    return hits


def mass(maps: npt.NDArray[np.float32], masks: Masks) -> Array:
    """Relevance-mass accuracy: the positive relevance inside the mask over all positive relevance.

    Arras et al. 2022, arXiv 2003.07258; a map without meaning gives the mask's share of the area.

    Args:
        maps: (N, H, W) signed.
        masks: (N, H, W) bool; without a marked pixel where there is none.

    Returns:
        (N,) in [0, 1]; NaN where there is no mask or nothing positive.
    """
    return np.where(masks.any(axis=(1, 2)), share(np.maximum(maps, 0), masks), np.nan)


def share(weights: npt.NDArray, regions: Masks) -> Array:
    """The part of weights (N, H, W), not negative, that lies in regions (N, H, W): (N,), NaN where all are 0."""
    total = weights.sum(axis=(1, 2), dtype=np.float64)
    return (weights * regions).sum(axis=(1, 2), dtype=np.float64) / np.where(total > 0, total, np.nan)

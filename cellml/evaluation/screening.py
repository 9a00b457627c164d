"""How well a score of single cells tells two controls apart: Z'-factor, robust Z', SSMD and AUROC.

Each is a function of the positive control's scores (N,) and the negative one's (M,), NaN where it is undefined;
`undefined` says why. `resampled` gives the same figures when cells come as often as their wells are drawn.
"""

import numpy as np
import numpy.typing as npt

from cellml.evaluation.weighted import Cells, deviation, moments, wins

Array = npt.NDArray[np.float64]
NAMES = ("z_prime", "robust_z_prime", "ssmd", "auroc")
MAD = 1.4826  # times the median absolute deviation is the standard deviation of a normal distribution
FLAT = 1e-9  # spread below this share of the values' size is rounding


def z_prime(positive: Array, negative: Array) -> float:
    """1 - 3 (s_p + s_n) / |m_p - m_n| with means and sample deviations (Zhang et al. 1999, J. Biomol. Screen. 4:67)."""
    return _value("z_prime", positive, negative)


def robust_z_prime(positive: Array, negative: Array) -> float:
    """As `z_prime` with medians and 1.4826 median absolute deviations (Birmingham et al. 2009, Nat. Methods 6:569)."""
    return _value("robust_z_prime", positive, negative)


def ssmd(positive: Array, negative: Array) -> float:
    """(m_p - m_n) / sqrt(s_p^2 + s_n^2), strictly standardised mean difference (Zhang 2007, Genomics 89:552)."""
    return _value("ssmd", positive, negative)


def auroc(positive: Array, negative: Array) -> float:
    """Share of pairs in which the positive control's cell has the higher score, ties as half (Mann and Whitney)."""
    return _value("auroc", positive, negative)


def undefined(name: str, positive: Array, negative: Array, cells: str = "cells") -> str:
    """Why a statistic of two controls has no value; "" where it has one.

    Args:
        name: one of `NAMES`.
        positive: (N,) scores.
        negative: (M,) scores.
        cells: what a score is of, for the text.
    """
    least = 1 if name == "auroc" else 2
    for control, values in (("positive", positive), ("negative", negative)):
        if len(values) < least:
            unit = cells.removesuffix("s") if len(values) == 1 else cells
            return f"the {control} control has {len(values)} {unit}, {least} or more are needed"
    if name == "auroc":
        return ""
    spreads = [_spread(name, values) for values in (positive, negative)]
    if name == "ssmd":
        return "the scores of both controls do not vary" if not any(spreads) else ""
    for control, spread in zip(("positive", "negative"), spreads, strict=True):
        if not spread:
            return f"the scores of the {control} control do not vary" + _robustly(name)
    place = np.median if name == "robust_z_prime" else np.mean
    if abs(place(positive) - place(negative)) <= FLAT * _size(np.concatenate([positive, negative])):
        return f"both controls have the same {'median' if name == 'robust_z_prime' else 'mean'}"
    return ""


def resampled(name: str, positive: Cells, negative: Cells, drawn: tuple[Array, Array]) -> Array:
    """A statistic of two controls, over R resamples.

    Args:
        name: one of `NAMES`.
        positive: cells of the positive control in P wells.
        negative: cells of the negative control in Q wells.
        drawn: (P, R) and (Q, R), how often each well is drawn.

    Returns:
        (R,), NaN where a resample leaves it undefined.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if name == "auroc":
            over, under = drawn
            pairs = (positive.counts @ over) * (negative.counts @ under)
            return np.einsum("pr,pq,qr->r", over, wins(positive, negative), under, optimize=True) / pairs
        spread = deviation if name == "robust_z_prime" else moments
        (m_p, s_p), (m_n, s_n) = spread(positive, drawn[0]), spread(negative, drawn[1])
        if name == "robust_z_prime":
            s_p, s_n = MAD * s_p, MAD * s_n
        if name == "ssmd":
            found = (m_p - m_n) / np.sqrt(s_p**2 + s_n**2)
        else:
            defined = (s_p > FLAT * positive.size) & (s_n > FLAT * negative.size)
            found = np.where(defined, 1 - 3 * (s_p + s_n) / np.abs(m_p - m_n), np.nan)
    return np.where(np.isfinite(found), found, np.nan)


def _value(name: str, positive: Array, negative: Array) -> float:
    if undefined(name, positive, negative):
        return float("nan")
    given = (Cells.alone(positive), Cells.alone(negative))
    drawn = (np.ones((1, 1)), np.ones((1, 1)))
    return float(resampled(name, *given, drawn)[0])


def _spread(name: str, values: Array) -> bool:
    if name == "robust_z_prime":
        return float(np.median(np.abs(values - np.median(values)))) > FLAT * _size(values)
    return float(values.std()) > FLAT * _size(values)


def _size(values: Array) -> float:
    return float(np.abs(values).max())


def _robustly(name: str) -> str:
    return " (half of them or more are the same)" if name == "robust_z_prime" else ""

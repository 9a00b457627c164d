"""How long stages last: fitted to segments of which the first and the last of each sequence are cut by its ends."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt
from scipy import stats

from cellml.sequences.decode import Lengths

Ends = tuple[bool, bool]  # whether the movie cuts the first and the last stage of a sequence
CUT: Ends = (True, True)
_STEPS = 50  # of the expectation-maximisation


@dataclass(frozen=True)
class Segments:
    """The runs of one stage in sequences, S of them.

    Attributes:
        stages: (S,) class indices.
        frames: (S,) how many frames each has.
        cut: (S,) bool, whether it touches an end of its sequence, so that the stage lasted as long or longer.
    """

    stages: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    cut: npt.NDArray[np.bool_]


def segments(labels: Iterable[npt.NDArray], ends: Iterable[Ends] | None = None) -> Segments:
    """The segments of sequences.

    Args:
        labels: (T_n,) class indices each; segments of unknown stage, -1, only cut their neighbours.
        ends: of each sequence, whether the movie cuts its first and its last stage; None: it cuts both.
    """
    stages, frames, cut = [], [], []
    for one, (first, last) in zip(labels, repeat(CUT) if ends is None else ends, strict=ends is not None):
        starts = np.flatnonzero(np.diff(one, prepend=np.nan) != 0)
        stage, length = one[starts], np.diff([*starts, len(one)])
        open_ = np.concatenate([[first], stage < 0, [last]]).astype(bool)
        known = stage >= 0
        stages.append(stage[known])
        frames.append(length[known])
        cut.append((open_[:-2] | open_[2:])[known])
    empty = [np.empty(0, np.int64)]
    whole = [np.concatenate(part or empty) for part in (stages, frames, cut)]
    return Segments(whole[0].astype(np.int64), whole[1].astype(np.int64), whole[2].astype(bool))


def means(found: Segments, count: int) -> npt.NDArray[np.float64]:
    """Mean frames of each of K classes, by maximum likelihood of Poisson lengths of which some are only bounded below.

    Expectation-maximisation: a segment of l frames that is cut counts as E[L | L >= l] = m P(L >= l - 1) / P(L >= l)
    of a Poisson length of mean m. A class that is always cut has no finite estimate; its mean grows to what the steps
    reach and no further than twice its longest segment.

    Args:
        found: the segments.
        count: K.

    Returns:
        (K,), 1 or more; the mean over all classes' segments where a class has none.
    """
    overall = max(float(found.frames.mean()), 1.0) if len(found.frames) else 1.0
    fitted = np.full(count, overall)
    for k in np.unique(found.stages):
        mine = found.stages == k
        whole, cut = found.frames[mine & ~found.cut], found.frames[mine & found.cut]
        top = 2.0 * found.frames[mine].max()
        mean = float(found.frames[mine].mean())
        for _ in range(_STEPS if len(cut) else 0):
            mean = min(top, float((whole.sum() + expected(cut, mean).sum()) / mine.sum()))
        fitted[k] = max(mean, 1.0)
    return fitted


def lengths(found: Segments, count: int, kind: str, mean: npt.ArrayLike | None = None) -> Lengths | None:
    """The length model of K classes.

    Args:
        found: the segments; a histogram counts those that are not cut.
        count: K.
        kind: poisson, histogram or none.
        mean: (K,) mean frames, where they are known otherwise than by `means`.

    Returns:
        None where `kind` is none.
    """
    if kind == "none":
        return None
    centre = tuple(float(m) for m in (means(found, count) if mean is None else np.asarray(mean)))
    if kind == "poisson":
        return Lengths(centre)
    mine = [found.stages == k for k in range(count)]
    return Lengths(centre, tuple(_counts(found.frames[own], found.cut[own]) for own in mine))


def _counts(frames: npt.NDArray[np.int64], cut: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """How often a stage lasted 1, 2, ... frames, (S,) segments; each of them spread by a Gaussian kernel.

    A segment that is cut goes in equal shares to the longer ones, from short to long (Efron 1967, "redistribution to
    the right", which is the estimator of Kaplan and Meier 1958), or if there is none to twice the longest's frames. The
    kernel's width is that of Silverman 1986, 0.9 min(sd, quartile range / 1.34) S^(-1/5), at least half a frame.
    """
    order = np.lexsort((cut, frames))  # of equally long ones the whole first
    frames, cut, weight = frames[order], cut[order], np.ones(len(frames))
    beyond = 0.0
    for i in np.flatnonzero(cut):
        later = len(frames) - i - 1
        if later:
            weight[i + 1 :] += weight[i] / later
        else:
            beyond = weight[i]
        weight[i] = 0
    lasted, weight = frames[~cut], weight[~cut]
    if not len(lasted):
        return ()
    longest = int(frames[-1])
    quartiles = np.subtract(*np.percentile(lasted, [75, 25])) / 1.34
    width = max(0.5, 0.9 * min(lasted.std(), quartiles) * len(lasted) ** -0.2)
    length = np.arange(1, 2 * longest + 1)
    kernel = np.exp(-0.5 * ((length - lasted[:, None]) / width) ** 2)
    spread = weight @ (kernel / kernel.sum(axis=1, keepdims=True))
    spread[-1] += beyond
    return tuple(np.round(spread, 6).tolist())


def expected(cut: npt.NDArray[np.int64], mean: float) -> npt.NDArray[np.float64]:
    """E[L | L >= l] of a Poisson length; l itself where the chance of that underflows."""
    longer = stats.poisson.sf(cut - 1, mean)
    ratio = stats.poisson.sf(cut - 2, mean) / np.where(longer > 0, longer, np.inf)
    return np.maximum(mean * ratio, cut)

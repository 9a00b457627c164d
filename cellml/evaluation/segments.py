"""What sequences of stages look like as segments, and figures of merit over them.

Scored are the sequences without an unknown frame between known ones; unknown frames at their ends are cut off. All
figures are ratios of sums over sequences (`Tally`), so that a bootstrap over groups is one product.

- edit: 1 - Levenshtein distance of the two lists of segments / the longer list's length, mean over sequences (Lea et
  al. 2016, ECCV; Abu Farha and Gall 2019, "MS-TCN", CVPR, who give it times 100).
- segment_f1_10, _25, _50: in the order of time a predicted segment is a hit where its best overlap (intersection over
  union) with a true one of its stage is 0.1, 0.25, 0.5 or more and that one has not been hit; F1 of hits over all
  sequences' segments (Lea et al. 2017, "Temporal convolutional networks", CVPR).
- transition_error: how many frames steps from one stage to another are off, mean over the true steps and the predicted
  ones that match none. Steps of the same two stages are matched at the least total distance. A missed step counts as if
  it had been predicted at the farther end of its sequence, so that missing never pays; a spurious one is as far off as
  the nearest true step (without any: the farther end), so that flicker between stages does not pay either.
  transition_error_found is the mean over matched steps alone.
- transitions_missed: share of true steps that no predicted one matches. transitions_spurious: share of predicted ones
  that no true one does.
- illegal_transitions: share of steps from frame to frame that change the stage otherwise than to the next in class
  order (after the last comes the first) and than the truth does anywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from cellml.errors import UserError
from cellml.evaluation.predictions import Predictions
from cellml.registry import Registry

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Sums = Mapping[str, Array]

METRICS: Registry[Callable[[Sums], Array]] = Registry("metric of sequences")
LOWER = frozenset(
    {
        "transition_error",
        "transition_error_found",
        "transitions_missed",
        "transitions_spurious",
        "illegal_transitions",
    }
)
OVERLAPS = (10, 25, 50)  # percent


@dataclass(frozen=True)
class Tally:
    """What the figures are ratios of, counted in each of Q sequences.

    Attributes:
        sequences: (Q,) their names.
        rows: the first row of each among the predictions.
        counts: name -> (Q,) count or sum.
    """

    sequences: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    counts: dict[str, Array]

    @property
    def sums(self) -> dict[str, Array]:
        """Each count over all sequences, ()."""
        return {name: values.sum() for name, values in self.counts.items()}


@METRICS.register("edit")
def edit(sums: Sums) -> Array:
    """Edit score of the segments' order, 0..1 (MS-TCN gives it times 100)."""
    return _ratio(sums["edit"], sums["sequences"])


def _f1(percent: int) -> Callable[[Sums], Array]:
    def f1(sums: Sums) -> Array:
        hits = sums[f"hits_{percent}"]
        return _ratio(2 * hits, sums["said"] + sums["true"])

    f1.__doc__ = f"F1 of segments that overlap a true one of their stage by {percent} % or more."
    return f1


for _percent in OVERLAPS:
    METRICS.register(f"segment_f1_{_percent}")(_f1(_percent))


@METRICS.register("transition_error")
def transition_error(sums: Sums) -> Array:
    """Mean frames that true and spurious steps of stage are off; a missed one counts to its sequence's farther end."""
    steps = sums["steps_true"] + sums["steps_said"] - sums["steps_found"]
    return _ratio(sums["error"] + sums["bound"] + sums["stray"], steps)


@METRICS.register("transition_error_found")
def transition_error_found(sums: Sums) -> Array:
    """Mean frames between the true steps of stage that were predicted at all and their predictions."""
    return _ratio(sums["error"], sums["steps_found"])


@METRICS.register("transitions_missed")
def transitions_missed(sums: Sums) -> Array:
    """Share of the true steps from stage to stage without a predicted one of the same two stages."""
    return 1 - _ratio(sums["steps_found"], sums["steps_true"])


@METRICS.register("transitions_spurious")
def transitions_spurious(sums: Sums) -> Array:
    """Share of the predicted steps from stage to stage without a true one of the same two stages."""
    return 1 - _ratio(sums["steps_found"], sums["steps_said"])


@METRICS.register("illegal_transitions")
def illegal_transitions(sums: Sums) -> Array:
    """Share of steps from frame to frame to a stage that neither the class order nor the truth leads to."""
    return _ratio(sums["illegal"], sums["pairs"])


def places(predictions: Predictions) -> dict[str, npt.NDArray[np.int64]]:
    """Sequence -> the positions of its frames in the order of time; sequences in the order of their first rows.

    Raises:
        UserError: the rows are no frames of sequences.
    """
    if predictions.sequences is None or predictions.frames is None:
        raise UserError("Expected predictions of frames of sequences, got single images; evaluate a movie's frames")
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(predictions.sequences):
        rows.setdefault(str(name), []).append(row)
    frames = predictions.frames
    return {name: np.array(sorted(own, key=lambda row: frames[row]), dtype=np.int64) for name, own in rows.items()}


def scorable(predictions: Predictions) -> dict[str, npt.NDArray[np.int64]]:
    """As `places`, of the sequences that can be scored, without the unknown frames at their ends."""
    known = {name: rows[predictions.targets[rows] >= 0] for name, rows in places(predictions).items()}
    frames = predictions.frames
    assert frames is not None
    return {n: own for n, own in known.items() if len(own) and frames[own[-1]] - frames[own[0]] + 1 == len(own)}


def runs(labels: Labels) -> tuple[Labels, Labels, Labels]:
    """Segments of (T,) class indices: stages, starts and stops (the frame after the last), (S,) each."""
    starts = np.flatnonzero(np.diff(labels, prepend=-2))
    return labels[starts], starts, np.append(starts[1:], len(labels))


def allowed(predictions: Predictions) -> npt.NDArray[np.bool_]:
    """Which stage may follow on which, (K, K): itself, the next in class order, and what follows in the truth."""
    count = len(predictions.classes)
    may = np.eye(count, dtype=bool)
    may[np.arange(count), (np.arange(count) + 1) % count] = True
    for rows in scorable(predictions).values():
        true = predictions.targets[rows]
        may[true[:-1], true[1:]] = True
    return may


def tally(predictions: Predictions) -> Tally:
    """Count what the figures are made of, in each sequence that can be scored.

    Raises:
        UserError: the rows are no frames of sequences.
    """
    may, kept = allowed(predictions), scorable(predictions)
    said = predictions.predicted
    rows = [_counted(predictions.targets[own], said[own], may) for own in kept.values()]
    names = _counted(np.zeros(1, np.int64), np.zeros(1, np.int64), may)
    counts = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in names}
    return Tally(tuple(kept), np.array([own[0] for own in kept.values()], dtype=np.int64), counts)


def compute(predictions: Predictions) -> dict[str, float]:
    """Every metric of sequences; NaN where nothing defines it.

    Raises:
        UserError: the rows are no frames of sequences.
    """
    sums = tally(predictions).sums
    return {name: float(METRICS[name](sums)) for name in METRICS}


def distance(said: Labels, true: Labels) -> int:
    """Levenshtein distance of two lists."""
    index = np.arange(len(said) + 1)
    row = index.copy()
    for i, one in enumerate(true, start=1):
        changed = np.append(i, np.minimum(row[1:] + 1, row[:-1] + (said != one)))
        row = np.minimum.accumulate(changed - index) + index
    return int(row[-1])


def matched(said: npt.NDArray, true: npt.NDArray, within: float = np.inf) -> tuple[Labels, Labels]:
    """Pairs of points in time: as many as there can be, at the least total distance.

    Args:
        said: (S,) points.
        true: (U,) points.
        within: the farthest that a pair may be apart.

    Returns:
        positions in `said` and in `true`, (P,) each.
    """
    away = np.abs(said[:, None] - true[None, :])
    far = away > within
    rows, columns = linear_sum_assignment(np.where(far, (away.max(initial=0) + 1) * (1 + min(away.shape)), away))
    kept = ~far[rows, columns]
    return rows[kept], columns[kept]


def _counted(true: Labels, said: Labels, may: npt.NDArray[np.bool_]) -> dict[str, float]:
    a, b = runs(true), runs(said)
    counts: dict[str, float] = {"sequences": 1, "true": len(a[0]), "said": len(b[0])}
    counts["edit"] = 1 - distance(b[0], a[0]) / max(len(a[0]), len(b[0]))
    overlap = _overlap(a, b)
    counts |= {f"hits_{percent}": _hits(overlap, percent / 100) for percent in OVERLAPS}
    counts |= {"pairs": len(said) - 1, "illegal": int((~may[said[:-1], said[1:]]).sum())}
    counts |= {"steps_true": len(a[0]) - 1, "steps_said": len(b[0]) - 1, "steps_found": 0}
    counts |= {"error": 0, "bound": 0, "stray": 0}
    wanted, given, none = steps(true), steps(said), np.empty(0, np.int64)
    every = a[1][1:]
    for kind in {**wanted, **given}:
        times, found = wanted.get(kind, none), given.get(kind, none)
        mine, own = matched(found, times)
        missed, stray = np.delete(times, own), np.delete(found, mine)
        counts["steps_found"] += len(own)
        counts["error"] += int(np.abs(found[mine] - times[own]).sum())
        counts["bound"] += int(_farther(missed, len(true)).sum())
        near = np.abs(stray[:, None] - every).min(axis=1) if len(every) else _farther(stray, len(true))
        counts["stray"] += int(near.sum())
    return counts


def steps(labels: Labels) -> dict[tuple[int, int], Labels]:
    """(from, to) -> the frames of (T,) class indices at which `to` begins after `from`, in order."""
    at = np.flatnonzero(np.diff(labels)) + 1
    kinds = list(zip(labels[at - 1].tolist(), labels[at].tolist(), strict=True))
    return {kind: at[[own == kind for own in kinds]] for kind in dict.fromkeys(kinds)}


def _overlap(true: tuple[Labels, ...], said: tuple[Labels, ...]) -> Array:
    """Intersection over union of predicted and true segments of one stage, (S, U); 0 of different stages."""
    both = np.minimum(said[2][:, None], true[2]) - np.maximum(said[1][:, None], true[1])
    either = np.maximum(said[2][:, None], true[2]) - np.minimum(said[1][:, None], true[1])
    return np.maximum(both, 0) / either * (said[0][:, None] == true[0])


def _hits(overlap: Array, least: float) -> int:
    best, taken = overlap.argmax(axis=1), set()
    for row, column in enumerate(best.tolist()):
        if overlap[row, column] >= least:
            taken.add(column)
    return len(taken)


def _farther(times: Labels, frames: int) -> Labels:
    return np.maximum(times, frames - times)


def _ratio(above: Array, below: Array) -> Array:
    return above / np.where(np.asarray(below) > 0, below, np.nan)

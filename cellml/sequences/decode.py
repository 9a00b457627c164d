"""From what a network says of each frame to one stage a frame: the best way through a grammar with durations.

A movie's stages come in an order (the grammar) and last for some frames (the lengths). The score of a division of T
frames into segments is the sum over frames of log p(stage | frame) - log p(stage), and over segments of log P(length |
stage) (Richard et al. 2018, "NeuralNetwork-Viterbi", CVPR). The first and the last segment are cut by the movie's
ends: theirs is log P(length or longer | stage). The best division is found by dynamic programming over (frame, state of
the grammar, length) in O(T * states * max duration), for many sequences at once.

This file needs numpy alone, so that whoever calls a registered model can copy it and decode with the `decoder` in the
model's metadata: `decode(log_probabilities, Decoder.from_dict(metadata["decoder"]))`.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_FLOOR = float(np.log(np.finfo(np.float64).eps))  # of log-probabilities, so that one frame forbids nothing
_CELLS = 2**17  # window cells at once: 1 MiB, which stays in a core's cache


class Misfit(ValueError):
    """A sequence, the `position`-th given, through whose `frames` no order of the grammar leads."""

    def __init__(self, frames: int, position: int) -> None:
        super().__init__(f"expected sequences that fit the grammar, got {frames} frames in sequence {position}")
        self.frames, self.position = frames, position


@dataclass(frozen=True)
class Grammar:
    """Which orders of stages there may be: a finite automaton whose states each emit one stage.

    Attributes:
        states: the stage of each of S states, as a class index.
        arcs: (from, to) pairs of states of different stages.
        initial: states that a sequence may start in.
        final: states that it may end in.
    """

    states: tuple[int, ...]
    arcs: tuple[tuple[int, int], ...]
    initial: tuple[int, ...]
    final: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(self.states[a] == self.states[b] for a, b in self.arcs):
            raise ValueError("expected arcs between states of different stages")


@dataclass(frozen=True)
class Lengths:
    """How many frames a stage lasts, K classes, at least one frame each.

    Attributes:
        means: (K,) mean frames. Without `counts` lengths are Poisson with these rates, given that they are not 0.
        counts: of each class, how often it lasted 1, 2, ... frames; with one more count spread as a geometric
            distribution of that mean, so that no length is impossible. Empty: Poisson.
    """

    means: tuple[float, ...]
    counts: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if not all(mean >= 1 for mean in self.means):
            raise ValueError(f"expected mean lengths of one frame or more, got {list(self.means)}")

    def tables(self, limit: int) -> tuple[Array, Array]:
        """log P(L = l) and log P(L >= l) of l = 1..limit, each (K, limit)."""
        return self._histogram(limit) if self.counts else self._poisson(limit)

    def _poisson(self, limit: int) -> tuple[Array, Array]:
        rate = np.array(self.means)[:, None]
        top = float(rate.max())
        frames = np.arange(1, max(limit, math.ceil(top)) + math.ceil(10 * math.sqrt(top)) + 50)
        exact = frames * np.log(rate) - rate - np.cumsum(np.log(frames)) - np.log(-np.expm1(-rate))
        tail = np.logaddexp.accumulate(exact[:, ::-1], axis=1)[:, ::-1]
        return exact[:, :limit], np.minimum(tail[:, :limit], 0)

    def _histogram(self, limit: int) -> tuple[Array, Array]:
        end = 1 / np.maximum(self.means, 1.1)[:, None]
        frames = np.arange(limit)
        spread = end * (1 - end) ** frames
        table = np.zeros((len(self.means), max(limit, *map(len, self.counts))))
        for row, counted in zip(table, self.counts, strict=True):
            row[: len(counted)] = counted
        total = table.sum(axis=1, keepdims=True) + 1
        longer = np.cumsum(table[:, ::-1], axis=1)[:, ::-1]
        tiny = np.finfo(np.float64).tiny
        exact = np.log(np.maximum((table[:, :limit] + spread) / total, tiny))
        return exact, np.log(np.maximum((longer[:, :limit] + (1 - end) ** frames) / total, tiny))


@dataclass(frozen=True)
class Decoder:
    """Everything decoding needs beside the network's answers.

    Attributes:
        grammar: the orders of stages.
        priors: (K,) probabilities of the classes among the frames that the network learned from, as it saw them.
        lengths: of the stages, or None where any length is as good as any other.
        censored: whether the movie's ends cut the first and the last segment; a pair where they differ.
        max_duration: frames that a segment between two others may last at most, or None.
        weight: of the frame scores; below 1 where a network errs in neighbouring frames together.
    """

    grammar: Grammar
    priors: tuple[float, ...]
    lengths: Lengths | None = None
    censored: bool | tuple[bool, bool] = True
    max_duration: int | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not all(prior > 0 for prior in self.priors):
            raise ValueError(f"expected priors above 0, got {list(self.priors)}")
        if self.lengths is not None and len(self.lengths.means) != len(self.priors):
            raise ValueError(f"expected {len(self.priors)} mean lengths, got {len(self.lengths.means)}")

    def to_dict(self) -> dict[str, Any]:
        """A form that JSON keeps."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> "Decoder":
        """What `to_dict` gave, also after a way through JSON."""
        grammar, lengths = given["grammar"], given["lengths"]
        arcs = tuple((int(a), int(b)) for a, b in grammar["arcs"])
        plain = {name: tuple(map(int, grammar[name])) for name in ("states", "initial", "final")}
        if lengths is not None:
            counts = tuple(tuple(map(float, row)) for row in lengths["counts"])
            lengths = Lengths(tuple(map(float, lengths["means"])), counts)
        return cls(
            Grammar(arcs=arcs, **plain),
            tuple(map(float, given["priors"])),
            lengths,
            _ends(given["censored"]),
            given["max_duration"],
            float(given["weight"]),
        )


def _ends(given: bool | Sequence[bool]) -> bool | tuple[bool, bool]:
    return given if isinstance(given, bool) else (bool(given[0]), bool(given[1]))


def decode(log_probabilities: npt.ArrayLike, decoder: Decoder) -> Labels:
    """The most probable stages of one sequence.

    Args:
        log_probabilities: (T, K) natural logarithms of p(stage | frame); below -36 they count as that.
        decoder: K classes.

    Returns:
        (T,) class indices.

    Raises:
        ValueError: another number of classes, or a `Misfit`.
    """
    return decode_all([np.asarray(log_probabilities)], decoder)[0]


def decode_all(log_probabilities: Sequence[npt.NDArray], decoder: Decoder) -> list[Labels]:
    """As `decode`, of N sequences of any lengths: (T_n, K) each; (T_n,) each in the same order."""
    totals = [_totals(one, decoder) for one in log_probabilities]
    order = sorted(range(len(totals)), key=lambda n: -len(totals[n]))
    found: list[Labels] = [np.empty(0, np.int64)] * len(totals)
    while order:
        longest = len(totals[order[0]]) - 1
        window = min(longest, decoder.max_duration or longest)
        size = max(1, _CELLS // (len(decoder.grammar.states) * max(window, 1)))
        chunk, order = order[:size], order[size:]
        for n, labels in zip(chunk, _best([totals[n] for n in chunk], decoder), strict=True):
            if labels is None:
                raise Misfit(len(totals[n]) - 1, n)
            found[n] = labels
    return found


def transcript(labels: npt.ArrayLike) -> tuple[int, ...]:
    """The distinct consecutive stages of (T,) class indices, in order; frames of unknown stage, -1, are passed over."""
    known = np.asarray(labels, dtype=np.int64)
    known = known[known >= 0]
    return tuple(known[np.flatnonzero(np.diff(known, prepend=-1))].tolist())


def _totals(log_probabilities: npt.NDArray, decoder: Decoder) -> Array:
    """Frame scores summed up to each frame, (T + 1, K)."""
    scores = np.asarray(log_probabilities, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != len(decoder.priors) or not len(scores):
        raise ValueError(f"expected log-probabilities of shape (T, {len(decoder.priors)}), got {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError("expected log-probabilities, got NaN")
    above = decoder.weight * (np.maximum(scores, _FLOOR) - np.log(decoder.priors))
    return np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(above, axis=0)])


def _best(sums: list[Array], decoder: Decoder) -> list[Labels | None]:
    """The best labels of sequences sorted by falling length, each (T_n + 1, K) of `_totals`; None: no way through."""
    grammar, counts = decoder.grammar, np.array([len(one) - 1 for one in sums])
    stages, longest, n = np.array(grammar.states), int(counts[0]), len(sums)
    limit = min(longest, decoder.max_duration or longest)
    within, outer = _length_scores(decoder, longest)  # (K, T) each
    exact, cut = within[stages], outer[stages]
    exact[:, limit:] = -np.inf
    ends_cut = (decoder.censored,) * 2 if isinstance(decoder.censored, bool) else decoder.censored
    first, last, only = (cut if is_cut else exact for is_cut in (*ends_cut, any(ends_cut)))
    backwards, last_backwards = exact[:, :limit][:, ::-1].copy(), last[:, ::-1].copy()
    before = _before(grammar)
    may_start, may_end = (_open(chosen, len(stages)) for chosen in (grammar.initial, grammar.final))

    total = np.zeros((n, len(stages), longest + 1))
    for own, one in zip(total, sums, strict=True):
        own[:, : len(one)] = one[:, stages].T
    entry = np.full((n, len(stages), longest + 1), -np.inf)  # best score up to a state's start, less its total there
    took = np.zeros((n, len(stages), longest + 1), dtype=np.int32)  # frames of the segment that ends here
    came = np.zeros((n, len(stages), longest + 1), dtype=np.int32)  # state before the segment that starts here
    ends: list[tuple[int, int] | None] = [None] * n  # last state and its frames
    active = n
    for t in range(1, longest + 1):
        alone = total[:active, :, t] + may_start + only[:, t - 1]
        for row in range(int((counts > t).sum()), active):  # sequences that end here
            ends[row] = _end(total[row, :, t], entry[row, :, :t], alone[row], last_backwards[:, -t:], may_end)
        active = int((counts > t).sum())
        low = max(1, t - limit)
        score = total[:active, :, t] + may_start + first[:, t - 1]
        frames = np.full((active, len(stages)), t, dtype=np.int32)
        if t > 1 and active:
            reached = entry[:active, :, low:t] + backwards[:, limit - (t - low) :]
            best = reached.argmax(axis=2)
            inner = np.take_along_axis(reached, best[:, :, None], 2)[:, :, 0] + total[:active, :, t]
            better = inner > score
            score, frames = np.where(better, inner, score), np.where(better, t - low - best, frames)
        took[:active, :, t] = frames
        padded = np.concatenate([score, np.full((active, 1), -np.inf)], axis=1)[:, before]  # (n, S, P)
        which = padded.argmax(axis=2)
        came[:active, :, t] = before[np.arange(len(stages)), which]
        entry[:active, :, t] = np.take_along_axis(padded, which[:, :, None], 2)[:, :, 0] - total[:active, :, t]
    return [_traced(end, took[row], came[row], stages, counts[row]) for row, end in enumerate(ends)]


def _end(total: Array, entry: Array, alone: Array, lengths: Array, may_end: Array) -> tuple[int, int] | None:
    """Last state and its frames of the best way through t frames; one segment alone scores `alone`."""
    t = entry.shape[1]
    reached = entry + lengths  # column j: the last segment starts at frame j
    best = reached[:, 1:].argmax(axis=1) + 1 if t > 1 else np.zeros(len(total), dtype=np.int64)
    inner = reached[np.arange(len(total)), best] + total
    score = np.maximum(inner, alone) + may_end
    state = int(score.argmax())
    if score[state] == -np.inf:
        return None
    return state, int(t - best[state]) if inner[state] > alone[state] else t


def _traced(
    end: tuple[int, int] | None, took: npt.NDArray, came: npt.NDArray, stages: npt.NDArray, count: int
) -> Labels | None:
    if end is None:
        return None
    labels = np.empty(count, dtype=np.int64)
    (state, frames), stop = end, int(count)
    while True:
        labels[stop - frames : stop] = stages[state]
        stop -= frames
        if not stop:
            return labels
        state = int(came[state, stop])
        frames = int(took[state, stop])


def _length_scores(decoder: Decoder, limit: int) -> tuple[Array, Array]:
    if decoder.lengths is None:
        return (np.zeros((len(decoder.priors), limit)),) * 2
    return decoder.lengths.tables(limit)


def _before(grammar: Grammar) -> npt.NDArray[np.int64]:
    """States before each of S states, (S, P), padded by S, which stands for none."""
    lists: list[list[int]] = [[] for _ in grammar.states]
    for a, b in grammar.arcs:
        lists[b].append(a)
    width = max([1, *map(len, lists)])
    return np.array([row + [len(lists)] * (width - len(row)) for row in lists])


def _open(chosen: Sequence[int], count: int) -> Array:
    closed = np.full(count, -np.inf)
    closed[list(chosen)] = 0
    return closed

"""What transcripts alone tell of how long stages last, before any frame is looked at.

Where a movie ends in a stage, and how many sequences come to which stage within how many frames, says how long stages
last: of daughters that are followed for 4 frames most are still in telophase, of those followed for 12 hardly one.
Lengths are fitted to that by expectation-maximisation over all ways to divide each sequence among its stages.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cellml.sequences.decode import Lengths
from cellml.sequences.durations import Ends, expected

Array = npt.NDArray[np.float64]
Kind = tuple[tuple[int, ...], int, Ends]  # the stages of a sequence in order, its frames, which of its ends are cut

_STEPS = 30
_LEAST = 1e-30  # probability of a length, so that none is impossible


def means(transcripts: Sequence[Sequence[int]], frames: Sequence[int], ends: Sequence[Ends], count: int) -> Array:
    """Mean frames of each of K stages, by maximum likelihood of Poisson lengths that nobody has seen.

    A stage that the movie cuts lasted as long or longer. A stage that is always cut has no finite estimate; its mean
    grows to what the steps reach and no further than twice the longest sequence.

    Args:
        transcripts: the ordered stages of each of N sequences, class indices.
        frames: how many frames each has.
        ends: whether the movie cuts the first and the last stage of each.
        count: K.

    Returns:
        (K,), 1 or more; the mean over all stages where a class has none.
    """
    kinds = Counter(
        (tuple(stages), int(length), cut) for stages, length, cut in zip(transcripts, frames, ends, strict=True)
    )
    parts = sum(len(stages) * n for (stages, _, _), n in kinds.items())
    longest = max(length for _, length, _ in kinds)
    even = max(sum(length * n for (_, length, _), n in kinds.items()) / parts, 1.0)
    found = np.full(count, even)
    for _ in range(_STEPS):
        exact, longer = _tables(found, longest)
        whole = np.arange(1.0, longest + 1)
        lasting = np.stack([expected(np.arange(1, longest + 1), mean) for mean in found])
        total, seen = np.zeros(count), np.zeros(count)
        for kind, n in kinds.items():
            values = [lasting[s] if cut else whole for s, cut in zip(kind[0], _cut(kind), strict=True)]
            np.add.at(total, list(kind[0]), n * _expected(kind[1], _chances(kind, exact, longer), values))
            np.add.at(seen, list(kind[0]), n)
        found = np.where(seen > 0, np.clip(total / np.maximum(seen, 1), 1, 2 * longest), even)
    return found


def divided(kind: Kind, lasting: Array, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Stages of one sequence's frames, (T,), drawn from all ways to divide it, each as often as it is likely.

    The likeliest way would give a stage the same length in every sequence, which training would then confirm.

    Args:
        kind: its transcript, frames and ends.
        lasting: (K,) mean frames of the stages.
        rng: source of the draw.
    """
    stages, frames, _ = kind
    chances = _chances(kind, *_tables(lasting, frames))
    before = _before(frames, chances[:-1])
    bounds = [frames]
    for start, chance in zip(reversed(before[1:]), reversed(chances[1:]), strict=True):
        stop = bounds[-1]
        weights = start[:stop] * chance[:stop][::-1]
        bounds.append(int(rng.choice(stop, p=weights / weights.sum())))
    return np.repeat(np.array(stages, dtype=np.int64), np.diff([0, *reversed(bounds)]))


def _expected(frames: int, chances: Sequence[Array], values: Sequence[Array]) -> Array:
    """Mean value of each of S segments over all ways to divide T frames among them, (S,).

    Args:
        frames: T.
        chances: of each segment, the probability of 1, 2, ... frames.
        values: of each segment, what 1, 2, ... frames count.
    """
    after = _before(frames, chances[:0:-1])  # from the end
    found = []
    for start, rest, chance, value in zip(_before(frames, chances[:-1]), after[::-1], chances, values, strict=True):
        ends = rest[::-1]
        weight = float(_lasted(start, chance) @ ends)
        found.append(float(_lasted(start, chance * value) @ ends) / weight)
    return np.array(found)


def _tables(lasting: Array, longest: int) -> tuple[Array, Array]:
    """Probabilities that stages last 1, 2, ... frames, and that they last so long or longer, (K, L) each."""
    exact, longer = Lengths(tuple(lasting.tolist())).tables(longest)
    return np.maximum(np.exp(exact), _LEAST), np.maximum(np.exp(longer), _LEAST)


def _cut(kind: Kind) -> list[bool]:
    """Whether the movie cuts each segment of a sequence."""
    stages, _, (first, last) = kind
    return [(first and k == 0) or (last and k == len(stages) - 1) for k in range(len(stages))]


def _chances(kind: Kind, exact: Array, longer: Array) -> list[Array]:
    return [(longer if cut else exact)[stage] for stage, cut in zip(kind[0], _cut(kind), strict=True)]


def _before(frames: int, chances: Sequence[Array]) -> list[Array]:
    """Chances that each segment starts at each frame, (T + 1,), up to a factor, by those of the lengths before it."""
    found = [np.eye(1, frames + 1)[0]]
    for chance in chances:
        ended = _lasted(found[-1], chance)
        found.append(ended / ended.sum())
    return found


def _lasted(start: Array, chance: Array) -> Array:
    """Where a segment ends, (T + 1,), that starts as `start` says and lasts 1, 2, ... frames."""
    frames = len(start) - 1
    return np.convolve(start, np.concatenate([[0.0], chance[:frames]]))[: frames + 1]

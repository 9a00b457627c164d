"""Grammars from transcripts, or from the order of the classes."""

from collections.abc import Iterable, Sequence
from typing import Any

from cellml.sequences.decode import Grammar


def of_transcripts(transcripts: Iterable[Sequence[int]], optional: Iterable[int] = ()) -> Grammar:
    """The given transcripts and no others, with common beginnings and ends shared.

    Args:
        transcripts: ordered lists of stages, as class indices, none twice in a row.
        optional: stages that each of them may leave out; stages that meet then become one.

    Returns:
        their automaton.
    """
    skipped = frozenset(optional)
    states: list[int] = []
    arcs: set[tuple[int, int]] = set()
    initial: set[int] = set()
    final: set[int] = set()
    for stages in sorted({tuple(int(stage) for stage in one) for one in transcripts}):
        offset = len(states)
        states += stages
        following, ends = _following(stages, skipped)
        initial |= {offset + j for j in following.pop(-1)}
        arcs |= {(offset + i, offset + j) for i, js in following.items() for j in js}
        final |= {offset + i for i in ends}
    return _merged(states, arcs, initial, final)


def ordered(count: int, optional: Iterable[int] = (), cyclic: bool = False) -> Grammar:
    """Stages 0 to count - 1 in their order, from any of them to any of them, as a movie cuts a cell's life.

    Args:
        count: K.
        optional: stages that may be left out.
        cyclic: whether the first one follows on the last.

    Returns:
        an automaton of K states.
    """
    skipped = frozenset(optional)
    arcs = set()
    for a in range(count):
        for step in range(1, count if cyclic else count - a):
            b = (a + step) % count
            arcs.add((a, b))
            if b not in skipped:
                break
    every = tuple(range(count))
    return Grammar(every, tuple(sorted(arcs)), every, every)


def successions(transcripts: Iterable[Sequence[int]], optional: Iterable[int] = ()) -> Grammar:
    """What follows on what in the transcripts, any number of times, from any of their stages to any, as a movie cuts.

    Args:
        transcripts: ordered lists of stages, as class indices, none twice in a row.
        optional: stages that each of them may leave out.

    Returns:
        an automaton of one state a stage.
    """
    given = of_transcripts(transcripts, optional)
    stages = sorted(set(given.states))
    place = {stage: i for i, stage in enumerate(stages)}
    arcs = {(place[given.states[a]], place[given.states[b]]) for a, b in given.arcs}
    every = tuple(range(len(stages)))
    return Grammar(tuple(stages), tuple(sorted(arcs)), every, every)


def accepts(grammar: Grammar, stages: Sequence[int]) -> bool:
    """Whether a transcript is one of the grammar's."""
    reached = {s for s in grammar.initial if grammar.states[s] == stages[0]} if len(stages) else set()
    for stage in stages[1:]:
        reached = {b for a, b in grammar.arcs if a in reached and grammar.states[b] == stage}
    return bool(reached & set(grammar.final))


def _following(stages: Sequence[int], skipped: frozenset[int]) -> tuple[dict[int, list[int]], list[int]]:
    """Positions that may follow each position of a transcript, -1 standing before the first; those it may end with."""
    following: dict[int, list[int]] = {}
    ends = []
    for i in range(-1, len(stages)):
        here = None if i < 0 else stages[i]
        following[i] = []
        for j in range(i + 1, len(stages)):
            if stages[j] == here:  # all between is left out
                continue
            following[i].append(j)
            if stages[j] not in skipped:
                break
        else:
            ends += [i] if i >= 0 else []
    return following, ends


def _merged(states: Sequence[int], arcs: set[tuple[int, int]], initial: set[int], final: set[int]) -> Grammar:
    """The same orders by fewer states: those of one stage with the same states before (or after) become one."""
    name = list(range(len(states)))
    for marked, side in ((initial, 0), (final, 1)):
        while True:
            kept = sorted(set(name))
            near: dict[int, set[int]] = {s: set() for s in kept}
            for arc in arcs:
                near[name[arc[1 - side]]].add(name[arc[side]])
            chosen = {name[s] for s in marked}
            first: dict[Any, int] = {}
            onto = {s: first.setdefault((states[s], s in chosen, frozenset(near[s])), s) for s in kept}
            if len(first) == len(kept):
                break
            name = [onto[s] for s in name]
    place = {s: i for i, s in enumerate(sorted(set(name)))}
    joined = {(place[name[a]], place[name[b]]) for a, b in arcs}
    starts, ends = (tuple(sorted({place[name[s]] for s in marked})) for marked in (initial, final))
    return Grammar(tuple(states[s] for s in place), tuple(sorted(joined)), starts, ends)

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellml.sequences import grammar as grammars
from cellml.sequences.decode import transcript
from tests.sequences import helpers

LISTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5).map(transcript), min_size=1, max_size=5)


def without(stages, optional):
    """All transcripts that remain where any of the optional stages are left out."""
    kept = itertools.product(*([(s,), ()] if s in optional else [(s,)] for s in stages))
    return {transcript(np.array(sum(one, ()), dtype=int)) for one in kept} - {()}


@settings(max_examples=200, deadline=None)
@given(LISTS, st.sets(st.integers(0, 2), max_size=2))
def test_a_grammar_has_its_transcripts_and_no_others(lists, optional):
    grammar = grammars.of_transcripts(lists, optional)
    right = set.union(*(without(stages, optional) for stages in lists))
    assert helpers.transcripts(grammar, 6) == right
    every = itertools.chain(*(itertools.product(range(3), repeat=n) for n in range(4)))
    assert {stages for stages in every if grammars.accepts(grammar, stages)} == {s for s in right if len(s) < 4}


@pytest.mark.parametrize("optional", [(), (1,), (0, 2)])
@pytest.mark.parametrize("cyclic", [False, True])
def test_ordered_stages_run_from_any_to_any(optional, cyclic):
    around = [tuple((first + i) % 4 for i in range(9)) for first in range(4)] if cyclic else [tuple(range(4))]
    parts = {one[a:b] for one in around for a in range(len(one)) for b in range(a + 1, len(one) + 1)}
    right = set.union(*(without(part, optional) for part in parts))
    found = helpers.transcripts(grammars.ordered(4, optional, cyclic), 4)
    assert found == {part for part in right if len(part) <= 4}


def test_successions_repeat_what_follows_on_what():
    grammar = grammars.successions([(0, 2, 3, 0), (3, 0, 2)], optional=[3])
    pairs = {(0, 2), (2, 3), (3, 0), (2, 0)}
    every = {one for n in range(1, 6) for one in itertools.product((0, 2, 3), repeat=n)}
    right = {one for one in every if all(pair in pairs for pair in itertools.pairwise(one))}
    assert helpers.transcripts(grammar, 5) == right


def test_common_beginnings_and_ends_are_shared():
    stages = range(5)
    parts = [tuple(range(a, b)) for a in stages for b in range(a + 1, 6)]
    assert len(grammars.of_transcripts(parts).states) == 5
    assert len(grammars.of_transcripts([(0, 1, 2, 3), (0, 1, 3), (0, 1, 2)]).states) <= 6

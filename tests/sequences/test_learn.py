from dataclasses import replace

import numpy as np
import pytest

from cellml.config.decoding import Decode
from cellml.errors import UserError
from cellml.evaluation import metrics
from cellml.sequences import durations, grammar, learn
from cellml.sequences.decode import Lengths, decode, transcript
from tests.evaluation import helpers as evaluation
from tests.sequences import helpers

CLASSES = ("interphase", "prophase", "metaphase")
LABELS = [np.repeat([0, 1, 2], [4, 2, 3]), np.repeat([1, 2, 0], [3, 4, 5]), np.repeat([0, -1, 2], [4, 2, 2])]


def frames_of(labels, seed=0, sharp=2.0):
    """Predictions of these sequences' frames, rows shuffled."""
    rng = np.random.default_rng(seed)
    scores = np.exp(np.concatenate([helpers.answers(rng, len(one), 3, one, sharp) for one in labels]))
    names = np.repeat([f"cell {n}" for n in range(len(labels))], [len(one) for one in labels]).astype(object)
    made = evaluation.given(np.concatenate(labels), scores, CLASSES, groups=names)
    made = replace(made, sequences=names, frames=np.concatenate([np.arange(len(one)) for one in labels]))
    return made.where(rng.permutation(len(made)))


def test_a_decoder_has_the_grammar_lengths_and_priors_of_its_sequences():
    made = learn.fit(LABELS, CLASSES, Decode(grammar="transcripts"))
    for stages in ((0, 1, 2), (1, 2, 0)):
        assert grammar.accepts(made.grammar, stages)
    assert not grammar.accepts(made.grammar, (0, 2))  # of a sequence with unknown frames
    found = durations.means(durations.segments(LABELS), 3)
    assert made.lengths == Lengths(tuple(found.tolist()))
    assert made.priors == pytest.approx(np.array([13, 5, 9]) / 27)


def test_settings_choose_grammar_lengths_and_limits():
    made = learn.fit(LABELS, CLASSES, Decode(grammar="cycle", lengths="none", optional=["prophase"], censored=False))
    assert made.grammar == grammar.ordered(3, [1], cyclic=True)
    assert (made.lengths, made.censored, made.max_duration) == (None, False, None)
    made = learn.fit(
        LABELS, CLASSES, Decode(grammar="order", lengths="histogram", max_duration=9, weight=0.5), priors=[1, 1, 2]
    )
    assert made.grammar == grammar.ordered(3)
    assert isinstance(made.lengths, Lengths)
    assert made.lengths == durations.lengths(durations.segments(LABELS), 3, "histogram")
    assert (made.max_duration, made.weight, made.priors) == (9, 0.5, (0.25, 0.25, 0.5))
    assert learn.fit(LABELS, CLASSES, Decode(grammar="successions")).grammar == grammar.successions(
        [(0, 1, 2), (1, 2, 0)]
    )


def test_transcripts_that_are_known_otherwise_make_the_grammar():
    made = learn.fit([np.array([0, -1, 1])], CLASSES, Decode(grammar="transcripts"), transcripts=[(0, 2, 1)])
    assert grammar.accepts(made.grammar, (0, 2, 1))


def test_a_class_without_rows_has_the_prior_of_an_even_share():
    assert learn.smoothed(np.array([3.0, 0, 1])) == pytest.approx((0.5, 1 / 3, 1 / 6))
    assert learn.smoothed(np.zeros(4)) == (0.25,) * 4


def test_decoded_predictions_are_each_sequences_decoded_stages():
    p = frames_of([np.repeat([0, 1, 2], n) for n in ([9, 4, 7], [3, 5, 11], [12, 6, 2])], sharp=1.0)
    decoder = learn.fit([np.repeat([0, 1, 2], [9, 5, 8])], CLASSES, Decode(grammar="transcripts"))
    found = learn.decoded(p, decoder)
    for name in set(p.sequences):
        rows = np.flatnonzero(p.sequences == name)
        rows = rows[np.argsort(p.frames[rows])]
        assert found.predicted[rows].tolist() == decode(np.log(p.probabilities[rows]), decoder).tolist()
        assert transcript(found.predicted[rows]) == (0, 1, 2)
    assert found.ids is p.ids or (found.ids == p.ids).all()
    for name in ("accuracy", "edit", "segment_f1_50"):
        assert metrics.value(name, found) > metrics.value(name, p)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: learn.fit(LABELS, CLASSES, Decode(optional=["profase"])), "got 'profase': did you mean 'prophase'"),
        (
            lambda: learn.fit(LABELS[2:], CLASSES, Decode(grammar="transcripts")),
            "a stage for each frame, to take the grammar from, got none",
        ),
        (
            lambda: learn.decoded(
                frames_of([np.array([0, 1])]), learn.fit(LABELS, CLASSES, Decode(grammar="transcripts"))
            ),
            "got 'cell 0' of 2 frames; set sequence.decode.grammar",
        ),
        (
            lambda: learn.decoded(
                evaluation.make(5, CLASSES), learn.fit(LABELS, CLASSES, Decode(grammar="transcripts"))
            ),
            "frames of sequences, got single images",
        ),
    ],
)
def test_what_cannot_be_learned_or_decoded_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from cellml.config.decoding import Decode, Transcripts
from cellml.errors import UserError
from cellml.sequences import grammar, learn, weak
from cellml.sequences.decode import decode_all, transcript
from tests.sequences import helpers

CLASSES = ("interphase", "prophase", "metaphase", "anaphase")
MEANS = (14, 4, 7, 9)


def movies(count, seed, noise=1.0, optional=False):
    """Cells that pass through the stages, seen from some frame on, and two noisy features of each frame."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [1.6, 0.4], [2.4, 2.2], [0.3, 2.4]])
    labels, features = [], []
    for _ in range(count):
        lengths = rng.poisson(MEANS) + 1
        lengths[1] *= not (optional and rng.random() < 0.5)
        own = np.repeat(np.arange(4), lengths)[rng.integers(0, lengths[0]) :]
        own = own[: len(own) - rng.integers(0, lengths[3])]
        labels.append(own)
        features.append(centres[own] + noise * rng.normal(size=(len(own), 2)))
    return labels, features


def network(features):
    """A frame classifier as a training callback, and what it says of other frames."""
    model = LogisticRegression(C=10)

    def train(labels):
        model.fit(np.concatenate(features), np.concatenate(labels))
        return [model.predict_log_proba(one) for one in features]

    return model, train


def names(items):
    return {f"cell {n}": item for n, item in enumerate(items)}


def score(model, decoder, labels, features):
    said = decode_all([model.predict_log_proba(one) for one in features], decoder)
    return balanced_accuracy_score(np.concatenate(labels), np.concatenate(said))


@pytest.mark.parametrize("lengths", ["poisson", "histogram"])
def test_transcripts_alone_come_within_three_points_of_full_supervision(lengths):
    (labels, features), test = movies(120, 0), movies(200, 1)
    settings = Decode(lengths=lengths)
    model, train = network(features)
    train(labels)
    full = score(model, learn.fit(labels, CLASSES, settings), *test)

    begun = weak.start(names([transcript(one) for one in labels]), names(map(len, labels)), 4)
    rounds = []
    model, train = network(features)
    state, decoder = weak.learn(begun, train, CLASSES, settings, Transcripts(rounds=20), on_round=rounds.append)
    first = balanced_accuracy_score(np.concatenate(labels), np.concatenate(begun.labels))
    last = balanced_accuracy_score(np.concatenate(labels), np.concatenate(state.labels))
    assert full > 0.85
    assert first < 0.75 < last
    assert score(model, decoder, *test) > full - 0.03
    assert [one.round for one in rounds] == list(range(1, len(rounds) + 1))
    assert rounds[-1] is state
    assert state.changed < Transcripts().tolerance or len(rounds) == 20
    assert all(one.changed >= Transcripts().tolerance for one in rounds[:-1])
    assert [transcript(one) for one in state.labels] == [transcript(one) for one in labels]
    assert np.abs(np.array(state.means) - np.array(MEANS) - 1)[1:3].max() < 2


def test_optional_stages_are_found_where_they_are():
    labels, features = movies(120, 2, 0.7, optional=True)
    state = weak.start(names([(0, 1, 2, 3)] * 120), names(map(len, labels)), 4)
    _, train = network(features)
    state, decoder = weak.learn(state, train, CLASSES, Decode(optional=["prophase"]), Transcripts(rounds=20))
    assert {transcript(one) for one in state.labels} == {(0, 1, 2, 3), (0, 2, 3)}
    with_it = np.array([1 in one for one in labels])
    found = np.array([1 in one for one in state.labels])
    assert (with_it == found).mean() > 0.9
    assert grammar.accepts(decoder.grammar, (0, 2, 3))


def test_optional_stages_stay_in_at_first_and_the_rounds_end():
    state = weak.start({"a": (0, 1, 2)}, {"a": 9}, 3)
    answers = [helpers.answers(np.random.default_rng(0), 9, 3, np.repeat([0, 2], [4, 5]), 9.0)]
    settings, seen = Transcripts(rounds=4, tolerance=0), []
    while not weak.settled(state, settings, [1]):
        state = weak.step(state, answers, Decode(), settings, [1])
        seen.append((state.round, state.free, 1 in state.labels[0]))
    assert seen == [(1, False, True), (2, False, True), (3, True, False), (4, True, False)]
    early = Transcripts(rounds=9, tolerance=0.01)
    state = weak.start({"a": (0, 1, 2)}, {"a": 9}, 3)
    while not weak.settled(state, early, [1]):
        state = weak.step(state, answers, Decode(), early, [1])
    assert state.round < 9
    assert (state.free, 1 in state.labels[0]) == (True, False)


def test_sequences_begin_as_long_as_the_transcripts_tell():
    """Of sequences of one length those that end in the second stage say how long the first one lasts."""
    rng = np.random.default_rng(0)
    lasting = rng.poisson(7, 400) + 1
    lists = {str(n): (0, 1) if length < 10 else (0,) for n, length in enumerate(lasting)}
    frames = dict.fromkeys(lists, 10)
    born = weak.start(lists, frames, 2, ends=dict.fromkeys(lists, (False, True)))
    assert born.means[0] == pytest.approx(lasting.mean(), abs=0.3)
    seen = np.array([(one == 0).sum() for one in born.labels])
    assert seen.mean() == pytest.approx(np.minimum(lasting, 10).mean(), abs=0.3)
    assert seen[lasting < 10].std() == pytest.approx(lasting[lasting < 10].std(), rel=0.2)
    assert [transcript(one) for one in born.labels] == list(lists.values())


def test_sequences_begin_in_the_order_of_their_transcripts():
    state = weak.start({"a": (0, 1), "b": (1, 2, 0)}, {"a": 4, "b": 7}, 3)
    assert [transcript(one) for one in state.labels] == [(0, 1), (1, 2, 0)]
    assert [len(one) for one in state.labels] == [4, 7]
    assert state.priors == pytest.approx(np.bincount(np.concatenate(state.labels)) / 11)
    assert weak.start({"a": (0, 1)}, {"a": 4}, 2, [3, 1]).priors == (0.75, 0.25)


def test_momentum_keeps_a_share_of_what_was():
    rng = np.random.default_rng(0)
    state = weak.start({"a": (0, 1, 2)}, {"a": 12}, 3)
    answers = [helpers.answers(rng, 12, 3, np.repeat([0, 1, 2], [8, 2, 2]), 9.0)]
    fresh = weak.step(state, answers, Decode(), Transcripts(momentum=0))
    kept = weak.step(state, answers, Decode(), Transcripts(momentum=0.75))
    assert np.bincount(fresh.labels[0]).tolist() == [8, 2, 2]
    assert fresh.priors == pytest.approx((8 / 12, 2 / 12, 2 / 12))
    for name in ("priors", "means"):
        mixed = 0.75 * np.array(getattr(state, name)) + 0.25 * np.array(getattr(fresh, name))
        assert getattr(kept, name) == pytest.approx(mixed)
    assert fresh.changed == pytest.approx((fresh.labels[0] != state.labels[0]).mean())
    assert fresh.changed > 0
    even = weak.step(state, answers, Decode(), Transcripts(momentum=0), fixed=True)
    assert even.priors == state.priors


@pytest.mark.parametrize("stages", [(), (0, 1, 2, 0)])
def test_a_transcript_that_does_not_fit_is_refused(stages):
    with pytest.raises(UserError, match=rf"1 to 3 stages for 'a' of 3 frames, got {len(stages)}"):
        weak.start({"a": stages}, {"a": 3}, 3)


def test_limits_that_no_alignment_keeps_are_refused():
    state = weak.start({"a": (0, 1)}, {"a": 9}, 2)
    answers = [np.log(np.full((9, 2), 0.5))]
    with pytest.raises(UserError, match="got 9 frames for 2 stages of at most 3 frames; raise"):
        weak.step(state, answers, Decode(max_duration=3, censored=False), Transcripts())

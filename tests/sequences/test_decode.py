import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellml.sequences import decode as decoding
from cellml.sequences import grammar as grammars
from cellml.sequences.decode import Decoder, Grammar, Lengths, decode, decode_all, transcript
from tests.sequences import helpers

K = 3


@st.composite
def decoders(draw):
    stage = st.integers(0, K - 1)
    if draw(st.booleans()):
        lists = draw(st.lists(st.lists(stage, min_size=1, max_size=5).map(transcript), min_size=1, max_size=4))
        grammar = grammars.of_transcripts([*lists, (0,)], draw(st.sets(stage, max_size=1)))
    else:
        grammar = grammars.ordered(K, draw(st.sets(stage, max_size=2)), draw(st.booleans()))
    means = tuple(draw(st.lists(st.floats(1, 6), min_size=K, max_size=K)))
    counts = draw(st.lists(st.lists(st.integers(0, 3), max_size=5).map(tuple), min_size=K, max_size=K))
    lengths = draw(st.sampled_from([None, Lengths(means), Lengths(means, tuple(counts))]))
    priors = np.array(draw(st.lists(st.floats(0.05, 1), min_size=K, max_size=K)))
    censored = draw(st.booleans() | st.tuples(st.booleans(), st.booleans()))
    limit = draw(st.none() | st.integers(1, 6))
    return Decoder(grammar, tuple(priors / priors.sum()), lengths, censored, limit, draw(st.sampled_from([1.0, 0.4])))


@settings(max_examples=200, deadline=None)
@given(decoders(), st.integers(1, 7), st.integers(0, 10_000))
def test_the_decoded_stages_are_the_best_of_all(decoder, frames, seed):
    scores = helpers.answers(np.random.default_rng(seed), frames, K)
    right, top = helpers.best(scores, decoder)
    if right is None:
        with pytest.raises(ValueError, match=f"got {frames} frames"):
            decode(scores, decoder)
        return
    found = decode(scores, decoder).tolist()
    assert helpers.score(scores, *helpers.segments(found), decoder) == pytest.approx(top, abs=1e-9)
    assert grammars.accepts(decoder.grammar, transcript(found))


@pytest.mark.parametrize("limit", [None, 4])
@pytest.mark.parametrize("censored", [True, False])
@pytest.mark.parametrize("lengths", [None, Lengths((3, 2, 5))])
def test_sequences_are_decoded_together_as_one_by_one(lengths, censored, limit, monkeypatch):
    rng = np.random.default_rng(0)
    order = grammars.ordered(3, cyclic=True)
    decoder = Decoder(order, (0.2, 0.3, 0.5), lengths, censored, limit)
    scores = [helpers.answers(rng, frames, 3) for frames in (1, 30, 2, 17, 30, 8)]
    alone = [decode(one, decoder).tolist() for one in scores]
    for cells in (1, 3 * 60, 2**20):  # one, two, all at once
        monkeypatch.setattr(decoding, "_CELLS", cells)
        assert [labels.tolist() for labels in decode_all(scores, decoder)] == alone


def test_durations_tell_apart_what_frames_do_not():
    labels = np.repeat([0, 1, 2], [8, 4, 8])
    scores = np.log(np.where(np.eye(3)[labels] > 0, 0.6, 0.2))
    scores[2, :] = np.log([0.05, 0.9, 0.05])  # a flicker of the second stage in the first
    grammar = grammars.ordered(3, cyclic=True)
    assert decode(scores, Decoder(grammar, (1 / 3,) * 3, Lengths((8, 4, 8)))).tolist() == labels.tolist()


def test_the_movies_ends_cut_the_first_and_the_last_stage():
    scores = np.log(np.where(np.eye(2)[np.repeat([0, 1], [2, 10])] > 0, 0.62, 0.38))
    grammar, lengths = grammars.of_transcripts([(0, 1)]), Lengths((8, 8))
    cut = decode(scores, Decoder(grammar, (0.5, 0.5), lengths))
    whole = decode(scores, Decoder(grammar, (0.5, 0.5), lengths, censored=False))
    assert np.bincount(cut).tolist() == [2, 10]
    assert np.bincount(whole).tolist() == [4, 8]


def test_a_stage_of_no_probability_in_one_frame_may_still_be_passed_through():
    probabilities = np.array([[1.0, 0], [1, 0], [0, 1]])
    with np.errstate(divide="ignore"):
        scores = np.log(probabilities)
    assert decode(scores, Decoder(grammars.of_transcripts([(1, 0, 1)]), (0.5, 0.5))).tolist() == [1, 0, 1]


def test_priors_are_divided_out():
    scores = np.log(np.tile([0.6, 0.4], (5, 1)))
    grammar = grammars.ordered(2)
    assert decode(scores, Decoder(grammar, (0.5, 0.5))).tolist() == [0] * 5
    assert decode(scores, Decoder(grammar, (0.8, 0.2))).tolist() == [1] * 5


@pytest.mark.parametrize("mean", [1, 1.5, 7, 400])
def test_poisson_lengths_are_scipys(mean):
    exact, tail = Lengths((mean, 2)).tables(600)
    right = [[helpers.poisson(mean, length, longer) for length in range(1, 601)] for longer in (False, True)]
    np.testing.assert_allclose(exact[0], right[0], rtol=1e-9, atol=1e-9)
    known = np.isfinite(right[1])  # scipy's underflows
    assert known.sum() > 60
    np.testing.assert_allclose(tail[0][known], np.array(right[1])[known], rtol=1e-6, atol=1e-9)
    assert (np.diff(tail[0]) <= 0).all()


def test_histograms_of_lengths_are_distributions():
    counts = ((0, 2, 5, 1), (), (1,))
    lengths = Lengths((2.875, 4, 1), counts)
    exact, tail = lengths.tables(400)
    for k, mean in enumerate(lengths.means):
        right = [[helpers.histogram(mean, counts[k], n, longer) for n in range(1, 401)] for longer in (False, True)]
        np.testing.assert_allclose([exact[k], tail[k]], right, rtol=1e-7)
    np.testing.assert_allclose(np.exp(exact).sum(axis=1), 1)
    np.testing.assert_allclose(tail[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(lengths.tables(2)[0], exact[:, :2])


@settings(max_examples=50, deadline=None)
@given(decoders())
def test_a_decoder_comes_back_from_json(decoder):
    assert Decoder.from_dict(json.loads(json.dumps(decoder.to_dict()))) == decoder


def test_the_file_alone_decodes_with_numpy_alone(tmp_path):
    decoder = Decoder(grammars.ordered(3), (0.2, 0.3, 0.5), Lengths((3, 2, 5)))
    scores = helpers.answers(np.random.default_rng(1), 12, 3)
    (tmp_path / "decode.py").write_text(Path(decoding.__file__).read_text())
    (tmp_path / "given.json").write_text(json.dumps([scores.tolist(), decoder.to_dict()]))
    code = (
        "import json, sys, decode\n"
        "scores, made = json.load(open('given.json'))\n"
        "print(decode.decode(scores, decode.Decoder.from_dict(made)).tolist())\n"
        "assert not {'scipy', 'pandas', 'torch', 'cellml'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == decode(scores, decoder).tolist()


def test_transcripts_pass_over_unknown_frames():
    assert transcript([-1, 0, 0, -1, 0, 2, 2, 0, -1]) == (0, 2, 0)
    assert transcript([-1, -1]) == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: decode(np.zeros((3, 2)), d), r"shape \(T, 3\), got \(3, 2\)"),
        (lambda d: decode(np.zeros((0, 3)), d), r"got \(0, 3\)"),
        (lambda d: decode(np.full((3, 3), np.nan), d), "got NaN"),
        (lambda d: decode(np.zeros((2, 3)), replace(d, grammar=grammars.of_transcripts([(0, 1, 2)]))), "got 2 frames"),
        (lambda d: replace(d, priors=(0, 0.5, 0.5)), "priors above 0"),
        (lambda d: replace(d, lengths=Lengths((2, 2))), "expected 3 mean lengths, got 2"),
        (lambda d: Lengths((0.5,)), "one frame or more"),
        (lambda d: Grammar((0, 0), ((0, 1),), (0,), (1,)), "different stages"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(Decoder(grammars.ordered(3), (1 / 3,) * 3))

"""Training from transcripts alone: alignment and training in turns (Richard et al. 2018, "NeuralNetwork-Viterbi").

Of each sequence only the ordered stages are known. The first labels divide it as is likely by the lengths that the
transcripts themselves tell (`transcripts`); from then on a network is trained on the labels, its answers are aligned
to the transcripts by the best way through them, and priors and mean lengths are taken from the new labels, with
momentum. It ends when hardly a frame changes its stage. Optional stages stay in until the labels hardly change, or half
of the rounds are over: left out of all sequences too early, a stage is never learned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cellml.config.decoding import Decode, Transcripts
from cellml.errors import UserError
from cellml.sequences import durations, grammar
from cellml.sequences import transcripts as told
from cellml.sequences.decode import Decoder, Misfit, decode_all
from cellml.sequences.durations import CUT, Ends
from cellml.sequences.learn import fit, indices, smoothed

Labels = npt.NDArray[np.int64]
Train = Callable[[list[Labels]], Sequence[npt.NDArray]]


@dataclass(frozen=True)
class State:
    """Where learning from transcripts stands.

    Attributes:
        transcripts: of each of N sequences, its ordered stages.
        ends: of each, whether the movie cuts its first and its last stage.
        labels: (T_n,) each, the present alignment.
        priors: (K,) shares of the classes, as the network sees them.
        means: (K,) mean frames of the classes.
        round: alignments so far.
        changed: share of frames whose label the last one changed; 1 before the first.
        free: whether the last one could leave out optional stages.
    """

    transcripts: tuple[tuple[int, ...], ...]
    ends: tuple[Ends, ...]
    labels: tuple[Labels, ...]
    priors: tuple[float, ...]
    means: tuple[float, ...]
    round: int = 0
    changed: float = 1.0
    free: bool = False


def start(
    transcripts: Mapping[str, Sequence[int]],
    frames: Mapping[str, int],
    count: int,
    priors: npt.ArrayLike | None = None,
    ends: Mapping[str, Ends] | None = None,
) -> State:
    """Sequences divided among the stages of their transcripts as the lengths say that the transcripts tell.

    Args:
        transcripts: sequence -> its ordered stages, class indices, none twice in a row.
        frames: sequence -> its frames.
        count: K.
        priors: (K,) shares of the classes as training weights them; None: those among the labels.
        ends: sequence -> whether the movie cuts its first and its last stage; both, where it is not named. A cell that
            is seen to be born or to divide is not cut there.

    Returns:
        the state before the first training, its sequences in the order of `transcripts`.

    Raises:
        UserError: a sequence without stages, or with more than frames.
    """
    for name, stages in transcripts.items():
        if not 0 < len(stages) <= frames[name]:
            raise UserError(
                f"Expected a transcript of 1 to {frames[name]} stages for {name!r} of {frames[name]} frames, got "
                f"{len(stages)}; correct it, or leave the sequence out"
            )
    lists = tuple(tuple(int(stage) for stage in stages) for stages in transcripts.values())
    cut = tuple((ends or {}).get(name, CUT) for name in transcripts)
    means = told.means(lists, [frames[name] for name in transcripts], cut, count)
    rng = np.random.default_rng(0)
    kinds = zip(lists, [frames[name] for name in transcripts], cut, strict=True)
    labels = [told.divided(kind, means, rng) for kind in kinds]
    shares = _shares(labels, count) if priors is None else smoothed(np.asarray(priors, dtype=np.float64))
    return State(lists, cut, tuple(labels), shares, tuple(means.tolist()))


def step(
    state: State,
    log_probabilities: Sequence[npt.NDArray],
    decode: Decode,
    settings: Transcripts,
    optional: Sequence[int] = (),
    fixed: bool = False,
) -> State:
    """One alignment: new labels from what the network says, then priors and mean lengths from them.

    Args:
        state: the labels that the network was trained on.
        log_probabilities: (T_n, K) each, in the state's order.
        decode: kind of lengths, whether ends cut stages.
        settings: momentum, and how soon optional stages may be left out.
        optional: class indices that a sequence may leave out of its transcript.
        fixed: whether the priors stay, since training gives each class the same weight in all whatever the labels.

    Returns:
        the next state.
    """
    count = len(state.priors)
    free = state.free or state.changed < settings.tolerance or state.round >= settings.rounds // 2
    aligner = replace(_decoder(state, decode), weight=settings.weight)
    cut = state.ends if decode.censored else None
    labels = align(log_probabilities, state.transcripts, aligner, optional if free else (), cut)
    different = sum(int((a != b).sum()) for a, b in zip(labels, state.labels, strict=True))
    kept = settings.momentum
    found = durations.means(durations.segments(labels, state.ends), count)
    means = kept * np.array(state.means) + (1 - kept) * found
    priors = state.priors if fixed else kept * np.array(state.priors) + (1 - kept) * np.array(_shares(labels, count))
    return State(
        state.transcripts,
        state.ends,
        tuple(labels),
        tuple(float(prior) for prior in priors),
        tuple(means.tolist()),
        state.round + 1,
        different / sum(map(len, labels)),
        free,
    )


def settled(state: State, settings: Transcripts, optional: Sequence[int] = ()) -> bool:
    """Whether learning is over: the labels hardly change any more, or the rounds are over."""
    still = state.changed < settings.tolerance and (state.free or not optional)
    return still or state.round >= settings.rounds


def align(
    log_probabilities: Sequence[npt.NDArray],
    transcripts: Sequence[tuple[int, ...]],
    decoder: Decoder,
    optional: Sequence[int] = (),
    ends: Sequence[Ends] | None = None,
) -> list[Labels]:
    """The best labels of each sequence under its own transcript.

    Args:
        log_probabilities: (T_n, K) each.
        transcripts: of each sequence.
        decoder: its grammar is not looked at.
        optional: class indices that may be left out.
        ends: of each sequence, whether the movie cuts its first and its last stage; None: as the decoder says.

    Returns:
        (T_n,) class indices each.

    Raises:
        UserError: a transcript that does not fit its sequence.
    """
    found: list[Labels] = [np.empty(0, np.int64)] * len(transcripts)
    cut = [decoder.censored] * len(transcripts) if ends is None else ends
    kinds = list(zip(transcripts, cut, strict=True))
    for stages, censored in dict.fromkeys(kinds):
        mine = [n for n, own in enumerate(kinds) if own == (stages, censored)]
        only = replace(decoder, grammar=grammar.of_transcripts([stages], optional), censored=censored)
        try:
            aligned = decode_all([log_probabilities[n] for n in mine], only)
        except Misfit as error:
            raise UserError(
                f"Expected sequences that fit their transcripts, got {error.frames} frames for {len(stages)} stages "
                f"of at most {decoder.max_duration} frames; raise sequence.decode.max_duration"
            ) from None
        for n, labels in zip(mine, aligned, strict=True):
            found[n] = labels
    return found


def learn(
    state: State,
    train: Train,
    classes: Sequence[str],
    decode: Decode,
    settings: Transcripts,
    fixed: bool = False,
    on_round: Callable[[State], None] | None = None,
) -> tuple[State, Decoder]:
    """Train and align in turns until the labels stay, or the rounds are over.

    Args:
        state: of `start`.
        train: given the sequences' labels, trains on them and says what it then thinks: log-probabilities (T_n, K).
        classes: K names.
        decode: of the experiment, for the alignment and the decoder.
        settings: rounds, tolerance, momentum.
        fixed: as in `step`.
        on_round: called with the state after each round.

    Returns:
        the last state, and a decoder for what the network says of other sequences.

    Raises:
        UserError: an optional class that there is not.
    """
    optional = indices(decode.optional, classes)
    while not settled(state, settings, optional):
        state = step(state, train(list(state.labels)), decode, settings, optional, fixed)
        if on_round is not None:
            on_round(state)
    return state, decoder(state, classes, decode)


def decoder(state: State, classes: Sequence[str], decode: Decode) -> Decoder:
    """What decodes other sequences: the grammar of the transcripts, the lengths and priors learned with them."""
    made = fit(state.labels, classes, decode, state.transcripts, state.priors)
    return replace(made, lengths=_lengths(state, decode))


def _decoder(state: State, decode: Decode) -> Decoder:
    anything = grammar.ordered(len(state.priors))
    return Decoder(anything, state.priors, _lengths(state, decode), decode.censored, decode.max_duration)


def _lengths(state: State, decode: Decode) -> durations.Lengths | None:
    found = durations.segments(state.labels, state.ends)
    return durations.lengths(found, len(state.priors), decode.lengths, state.means)


def _shares(labels: Sequence[Labels], count: int) -> tuple[float, ...]:
    return smoothed(np.bincount(np.concatenate(labels), minlength=count).astype(np.float64))

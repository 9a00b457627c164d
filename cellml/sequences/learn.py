"""A decoder from sequences whose stages are known, and what it makes of predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cellml.config.decoding import Decode
from cellml.errors import UserError, near
from cellml.evaluation.predictions import Predictions
from cellml.evaluation.segments import places
from cellml.sequences import durations, grammar
from cellml.sequences.decode import Decoder, Grammar, Misfit, decode_all, transcript


def fit(
    labels: Sequence[npt.NDArray],
    classes: Sequence[str],
    settings: Decode,
    transcripts: Sequence[Sequence[int]] | None = None,
    priors: npt.ArrayLike | None = None,
) -> Decoder:
    """The decoder of training sequences: their grammar, lengths and class priors.

    Args:
        labels: N sequences' class indices, (T_n,) each, -1 where unknown.
        classes: K names, in their biological order.
        settings: of the experiment.
        transcripts: the ordered stages of the sequences, where they are known otherwise; else those of the sequences
            without an unknown frame.
        priors: (K,) shares of the classes as the network's training weighted them; None: those among the labels. A
            network trained with balanced weights or batches has even ones.

    Returns:
        the decoder.

    Raises:
        UserError: an optional class that there is not, or no sequence to take a transcript from.
    """
    skipped = indices(settings.optional, classes)
    known = np.concatenate(list(labels) or [np.empty(0, np.int64)])
    counts = np.bincount(known[known >= 0], minlength=len(classes))
    shares = np.maximum(np.asarray(counts if priors is None else priors, dtype=np.float64), 0)
    return Decoder(
        _grammar(labels, len(classes), settings.grammar, skipped, transcripts),
        smoothed(shares),
        durations.lengths(durations.segments(labels), len(classes), settings.lengths),
        settings.censored,
        settings.max_duration,
        settings.weight,
    )


def indices(optional: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Class indices of the optional stages.

    Raises:
        UserError: a name that is no class.
    """
    for name in optional:
        if name not in classes:
            raise UserError(f"Expected classes in sequence.decode.optional, got {name!r}: {near(name, classes)}")
    return [list(classes).index(name) for name in optional]


def smoothed(shares: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Priors (K,) that sum to 1; a class without rows has that of an even share (Richard et al. 2018)."""
    count, unseen = len(shares), shares <= 0
    if unseen.all():
        return (1 / count,) * count
    scaled = np.where(unseen, 1 / count, shares / shares.sum() * (1 - unseen.sum() / count))
    return tuple(float(share) for share in scaled)


def decoded(predictions: Predictions, decoder: Decoder) -> Predictions:
    """Predictions whose most probable class is the decoded one.

    Args:
        predictions: N frames of sequences.
        decoder: over the same classes.

    Returns:
        the same rows, with probabilities 1 and 0: metrics of labels mean what they say, those of probabilities (AUROC,
        log-loss, calibration) do not.

    Raises:
        UserError: the rows are no frames of sequences, or a sequence fits no order of the grammar.
    """
    rows = places(predictions)
    with np.errstate(divide="ignore"):
        answers = [np.log(predictions.probabilities[one]) for one in rows.values()]
    check(decoder, {name: len(one) for name, one in rows.items()})
    labels = np.zeros(len(predictions), dtype=np.int64)
    for one, found in zip(rows.values(), decode_all(answers, decoder), strict=True):
        labels[one] = found
    return replace(predictions, probabilities=np.eye(len(predictions.classes))[labels])


def check(decoder: Decoder, frames: Mapping[str, int]) -> None:
    """Refuse sequences that the grammar cannot lead through, before anything is trained.

    Args:
        decoder: of K classes.
        frames: sequence -> its frames.

    Raises:
        UserError: names the first one.
    """
    first = {count: name for name, count in reversed(list(frames.items()))}
    try:
        decode_all([np.zeros((count, len(decoder.priors))) for count in first], decoder)
    except Misfit as error:
        raise UserError(
            f"Expected sequences that fit the orders of sequence.decode.grammar, got {first[error.frames]!r} of "
            f"{error.frames} frames; set sequence.decode.grammar to successions, order or cycle, name optional stages, "
            "or leave the sequence out"
        ) from None


def _grammar(
    labels: Sequence[npt.NDArray],
    count: int,
    kind: str,
    skipped: Sequence[int],
    transcripts: Sequence[Sequence[int]] | None,
) -> Grammar:
    if kind in ("order", "cycle"):
        return grammar.ordered(count, skipped, cyclic=kind == "cycle")
    if transcripts is None:
        transcripts = [transcript(one) for one in labels if len(one) and (one >= 0).all()]
    if not transcripts:
        raise UserError(
            "Expected training sequences with a stage for each frame, to take the grammar from, got none; "
            "set sequence.decode.grammar to order or cycle"
        )
    made = grammar.successions if kind == "successions" else grammar.of_transcripts
    return made(transcripts, skipped)

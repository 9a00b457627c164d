"""The decoder of a training set of sequences, from labels of frames or from transcripts alone."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cellml.config import Experiment
from cellml.config.decoding import Decode
from cellml.data.manifest import PARENT, Manifest
from cellml.data.timelines import timelines
from cellml.errors import UserError
from cellml.sequences import learn, weak
from cellml.sequences.decode import Decoder
from cellml.sequences.durations import Ends
from cellml.training.frame_module import Align


class Transcripts:
    """Labels of training frames from the ordered stages of their sequences alone, found anew while training.

    Args:
        experiment: `sequence.transcripts` and `sequence.decode` count; with a strategy that weights the classes alike
            the priors stay even.
        train: training rows; their labels are not looked at beyond the order of the stages.

    Raises:
        UserError: a sequence whose transcript is not known, or does not fit it.
    """

    def __init__(self, experiment: Experiment, train: Manifest) -> None:
        own = experiment.sequence
        self._classes, self._decode, self._settings = train.classes, own.decode or Decode(), own.transcripts
        self._even = experiment.sampling.strategy != "none"
        self._optional = learn.indices(self._decode.optional, train.classes)
        frames, known = lengths(train), train.transcripts
        if unknown := [name for name in frames if name not in known]:
            raise UserError(
                f"Expected a transcript of every training sequence for sequence.supervision: transcripts, got none of "
                f"{unknown[0]!r} ({len(unknown)} in all); give them, or leave the sequences out"
            )
        transcripts = {name: known[name] for name in frames}
        ends = _ends(train) if self._decode.censored else dict.fromkeys(frames, (False, False))
        self._state = weak.start(transcripts, frames, len(train.classes), self._even, ends)

    def __call__(self, said: list[npt.NDArray[np.float64]] | None) -> list[npt.NDArray[np.int64]]:
        """See `frame_module.Align`."""
        if said is not None and not weak.settled(self._state, self._settings, self._optional):
            self._state = weak.step(self._state, said, self._decode, self._settings, self._optional, self._even)
        return list(self._state.labels)

    def decoder(self) -> Decoder:
        """What decodes other sequences, from the present labels."""
        return weak.decoder(self._state, self._classes, self._decode)


def _ends(train: Manifest) -> dict[str, Ends]:
    """Sequence -> whether the movie cuts its first and its last stage, of cells seen to be born or to divide."""
    names, mothers = train.sequences, train.table.get(PARENT)
    if names is None or mothers is None:
        return {}
    born = dict(zip(names, mothers != "", strict=True))
    dividing = set(mothers)
    return {str(name): (not has_mother, name not in dividing) for name, has_mother in born.items()}


def aligned(experiment: Experiment, train: Manifest) -> Transcripts | None:
    """What gives the labels of training frames, or None where they are known."""
    weakly = train.sequences is not None and experiment.sequence.supervision == "transcripts"
    return Transcripts(experiment, train) if weakly else None


def aligning(experiment: Experiment) -> Experiment:
    """The experiment that trains `sequence.transcripts.aligner` while it aligns the training frames."""
    plain = {"model.weights": "none", "model.attention": "none", "model.options": {}, "train.calibrate": "none"}
    name = experiment.sequence.transcripts.aligner
    return experiment.replace({**plain, "model.backbone": name, "sequence.transcripts.aligner": ""})


def decoder(experiment: Experiment, train: Manifest, align: Align | None, everything: Manifest) -> Decoder | None:
    """The decoder of the training sequences.

    None where `sequence.decode` is null, rows are no frames of movies, or nothing is asked for and no order is known.

    Args:
        experiment: `sequence.decode` and the sampling strategy count.
        train: training rows.
        align: what gave their labels, or None.
        everything: rows that are to be decoded, too.

    Raises:
        UserError: no grammar can be taken from the training rows, or a sequence does not fit it.
    """
    settings = experiment.sequence.decode
    if settings is None or train.sequences is None:
        return None
    if isinstance(align, Transcripts):
        made = align.decoder()
    else:
        if settings == Decode() and not train.transcripts:
            return None
        labels = [train.targets[rows] for rows in timelines(train)]
        even = None if experiment.sampling.strategy == "none" else np.full(len(train.classes), 1 / len(train.classes))
        made = learn.fit(labels, train.classes, settings, list(train.transcripts.values()) or None, even)
    learn.check(made, lengths(everything))
    return made


def lengths(rows: Manifest) -> Mapping[str, int]:
    """Sequence -> its frames, in the order of `timelines`."""
    names = rows.sequences
    assert names is not None
    return {str(names[one[0]]): len(one) for one in timelines(rows)}

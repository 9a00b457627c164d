"""The decoder of a training set of sequences, from labels of frames or from transcripts alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from cellml.config import Experiment, Train
from cellml.config.decoding import Decode
from cellml.data import splits
from cellml.data.manifest import PARENT, Manifest
from cellml.data.timelines import timelines
from cellml.errors import UserError
from cellml.sampling.base import TrainingRows
from cellml.sampling.strategies import resample
from cellml.sequences import learn, weak
from cellml.sequences.decode import Decoder
from cellml.sequences.durations import Ends
from cellml.training.checkpoint import State
from cellml.training.frame_module import Align
from cellml.training.frames import named

Array = npt.NDArray[np.float64]
Learner = Callable[[Manifest, Manifest], Array]  # trains on labelled images; log p of others, (R, K)


class Transcripts:
    """Labels of training frames from the ordered stages of their sequences alone, found anew while training.

    Args:
        experiment: `sequence.transcripts` and `sequence.decode` count; with a strategy that weights the classes the
            priors are what it makes of them, and stay so.
        train: training rows; their labels are not looked at beyond the order of the stages.

    Raises:
        UserError: a sequence whose transcript is not known, or does not fit it.
    """

    def __init__(self, experiment: Experiment, train: Manifest) -> None:
        own = experiment.sequence
        self._classes, self._decode, self._settings = train.classes, own.decode or Decode(), own.transcripts
        self._fixed = experiment.sampling.strategy != "none"
        self._optional = learn.indices(self._decode.optional, train.classes)
        frames, known = lengths(train), train.transcripts
        if unknown := [name for name in frames if name not in known]:
            raise UserError(
                f"Expected a transcript of every training sequence for sequence.supervision: transcripts, got none of "
                f"{unknown[0]!r} ({len(unknown)} in all); give them, or leave the sequences out"
            )
        transcripts = {name: known[name] for name in frames}
        ends = _ends(train) if self._decode.censored else dict.fromkeys(frames, (False, False))
        self._state = weak.start(transcripts, frames, len(train.classes), ends=ends)
        if self._fixed:
            masses = priors(experiment, named(train, list(self._state.labels)))
            self._state = weak.start(transcripts, frames, len(train.classes), masses, ends)

    def __call__(self, said: list[npt.NDArray[np.float64]] | None) -> list[npt.NDArray[np.int64]]:
        """See `frame_module.Align`."""
        if said is not None and not self.settled:
            self._state = weak.step(self._state, said, self._decode, self._settings, self._optional, self._fixed)
        return list(self._state.labels)

    def state(self) -> State:
        """See `frame_module.Aligned`."""
        own = self._state
        numbers = (own.priors, own.means, own.round, own.changed, own.free)
        return {"labels": [torch.from_numpy(labels) for labels in own.labels], "numbers": numbers}

    def resume(self, state: State) -> None:
        """See `frame_module.Aligned`."""
        labels = tuple(one.numpy() for one in state["labels"])
        names = ("priors", "means", "round", "changed", "free")
        self._state = replace(self._state, labels=labels, **dict(zip(names, state["numbers"], strict=True)))

    @property
    def settled(self) -> bool:
        """Whether labels stay as they are, whatever is said."""
        return weak.settled(self._state, self._settings, self._optional)

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
    """The experiment that trains `sequence.transcripts.aligner` on frames as images by themselves."""
    plain = {"model.weights": "none", "model.attention": "none", "model.options": {}, "train.calibrate": "none"}
    sequence = {"sequence.supervision": "frames", "train.batch_size": Train().batch_size}
    return experiment.replace({**plain, **sequence, "model.backbone": experiment.sequence.transcripts.aligner})


def crossfit(
    align: Transcripts, train: Manifest, said: Learner, seed: int, on_round: Callable[[], None] | None = None
) -> None:
    """Align training sequences by networks that see one frame at a time and have not seen these sequences.

    What aligns the sequences that it was trained on confirms the errors of its labels; so each half of the groups is
    aligned by what the other half has taught (cross-fitting, Chernozhukov et al. 2018), until `align` has settled.

    Args:
        align: of the training rows; holds what was found.
        train: training rows, frames of movies.
        said: what is trained.
        seed: which groups go together.
        on_round: called after each round.

    Raises:
        UserError: fewer than two groups.
    """
    half = splits.kfold(named(train, align(None)).targets, train.groups, 2, seed)
    while not align.settled:
        now = named(train, align(None)).images
        found = np.empty((len(train), len(train.classes)))
        for one in (0, 1):
            found[half == one] = said(now.where(half != one), now.where(half == one))
        align([found[rows] for rows in timelines(train)])
        if on_round is not None:
            on_round()


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
        shares = priors(experiment, train.where(train.targets >= 0))
        made = learn.fit(labels, train.classes, settings, list(train.transcripts.values()) or None, shares)
    learn.check(made, lengths(everything))
    return made


def priors(experiment: Experiment, labelled: Manifest) -> Array:
    """What training rows weigh in all, class by class, (K,): the shares of the classes as the network sees them."""
    own = experiment.sampling
    sample = resample(own.strategy, own.options, TrainingRows.of(labelled), experiment.train.seed, own.recipes)
    found = np.bincount(labelled.targets[sample.rows], weights=sample.weights, minlength=len(labelled.classes))
    return found.astype(np.float64)


def lengths(rows: Manifest) -> Mapping[str, int]:
    """Sequence -> its frames, in the order of `timelines`."""
    names = rows.sequences
    assert names is not None
    return {str(names[one[0]]): len(one) for one in timelines(rows)}

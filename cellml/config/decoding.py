"""The parts of the experiment file on decoding stages over time, and on learning from transcripts alone."""

from typing import Literal

from pydantic import Field

from cellml.config.base import Section


class Decode(Section):
    """How the stages of a sequence are decoded from what the network says of its frames."""

    # orders of stages: those of the training sequences; what follows on what in them; that of the classes, once; round
    grammar: Literal["transcripts", "successions", "order", "cycle"] = "successions"
    lengths: Literal["poisson", "histogram", "none"] = "poisson"  # of the stages, fitted to the training rows
    optional: list[str] = []  # classes that an order may leave out
    censored: bool = True  # a movie's ends cut its first and last stage
    max_duration: int | None = Field(None, ge=1)  # frames of a stage between two others
    # of the frames beside the lengths when decoding; below 1 where neighbouring frames err together
    weight: float = Field(1.0, gt=0)


class Transcripts(Section):
    """Training where only the ordered stages of each sequence are known (Richard et al. 2018)."""

    rounds: int = Field(10, ge=1)  # alignments at most, each after a training
    tolerance: float = Field(0.005, ge=0, lt=1)  # share of frames whose stage changes, below which alignment ends
    # of the frames beside the lengths when aligning; below 1 where neighbouring frames err together
    weight: float = Field(1.0, gt=0)
    # image backbone that frames are aligned with; "": the model itself. A recurrent model remembers where in a sequence
    # it is, learns its own mistakes by heart and never revises them. In each round the aligner is trained twice, on
    # single frames of one half of the groups, and aligns the other; the model is then trained on what was found
    aligner: str = ""
    momentum: float = Field(0.5, ge=0, lt=1)  # share of the earlier mean lengths and priors that stays in each round

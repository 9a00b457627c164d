"""The section of the experiment file on sequences: models of movies, and what they learn from."""

from typing import Literal

from pydantic import Field

from cellml.config.base import Section
from cellml.config.decoding import Decode, Transcripts


class Tracker(Section):
    """Sizes of the centre-cell tracker and what its two tasks count."""

    encoder: list[int] = Field([8, 16, 32], min_length=1)  # channels of the convolutions; max pooling after the first
    hidden: list[int] = Field([32, 64, 128], min_length=1)  # channels of the recurrent layers, each at half the side
    decoder: list[int] = [64, 32]  # channels of the transposed convolutions but the last
    norm: Literal["group", "none"] = "group"  # of the encoder's maps and the recurrent layers' inputs, frame by frame
    classification: float = Field(0.1, gt=0)  # weight of the stages' loss beside the drawing's; without masks it is 1


class Sequence(Section):
    """How frames of movies are learnt from, and sizes of sequence models."""

    units: int = Field(128, ge=1)  # of gru, lstm, tcn, and of the tracker's head
    layers: int = Field(1, ge=1, le=8)  # of gru and lstm; of tcn: times four convolutions of dilations 1, 2, 4, 8
    chunk: int | None = Field(40, ge=1)  # frames that gradients go back through; null: whole sequences
    tracker: Tracker = Tracker()
    supervision: Literal["frames", "transcripts"] = "frames"  # transcripts: the order of stages alone is known
    transcripts: Transcripts = Transcripts()  # of learning from transcripts
    decode: Decode | None = Decode()  # of decoding; null: no decoder is learned

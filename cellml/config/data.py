"""The sections of the experiment file on images: where they are, how they are divided, what is seen of them."""

import math
from typing import Any, Literal

from pydantic import Field, field_validator

from cellml.config.base import Section


class SplitTable(Section):
    """A published split given by a second table."""

    table: str
    match: list[str]  # columns that name a row in both tables
    column: str | None = None  # a column of split names; without it, presence in the table decides
    present: str = "train"
    absent: str = "test"


class Data(Section):
    """Where the images are and what their rows mean."""

    source: str = "folders"
    path: str | None = None  # folder or s3:// prefix; `-P data=` overrides it
    table: str | None = None
    file: str | None = None  # a column, or a template over columns and {class}: "images/{class}/{uid}.png"
    label: str | None = None  # a column
    votes: list[str] | None = (
        None  # columns with experts' votes; the label is their majority, the soft label their share
    )
    probabilities: dict[str, str] | None = None  # class name -> column
    auxiliary: list[str] = []  # columns with further labels of the images, learnt beside the class: see train.auxiliary
    classes: dict[str, str] | list[str] | None = None  # label value -> class name, or class names; in this order
    mixtures: dict[str, dict[str, float]] = {}  # label value -> ratio of classes: images of a well of that mixture
    unlisted: Literal["error", "drop", "keep"] = "error"  # rows whose label is not among `classes`; keep: as classes
    partial: bool = False  # classes without images are no mistake; an external test set may have some alone
    group: str | list[str] | None = None  # columns of what may not be split; "parent" for a file's folder
    keep: list[str] = []  # further columns that stay beside the images in the manifest, plate and well say
    id: str | None = None  # a column; the file (and box) otherwise
    split: str | SplitTable | None = None  # a column of split names, or a published split
    mask: str | None = None  # a column or template of mask files, for scoring heatmaps
    channels: list[int] | None = None  # which channels to keep, in this order
    context: float = Field(0.1, ge=0, le=4)  # margin around a box, as a share of its longer side
    window: int = Field(64, ge=4)  # side of the crop around a point, in pixels
    on_bad_image: Literal["skip", "error"] = "skip"
    options: dict[str, Any] = {}  # further options of the source, the simulator's `count` say

    @field_validator("classes", mode="before")
    @classmethod
    def _text(cls, classes: Any) -> Any:
        """YAML reads the label values 0, 1, true and false as numbers and booleans; tables are compared as text."""
        return {str(value): name for value, name in classes.items()} if isinstance(classes, dict) else classes

    @field_validator("mixtures", mode="after")
    @classmethod
    def _ratios(cls, mixtures: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for name, ratio in mixtures.items():
            if len(ratio) < 2 or not all(math.isfinite(part) and part > 0 for part in ratio.values()):
                raise ValueError(f"expected {name!r} as a ratio of two or more classes with parts above 0, got {ratio}")
        return mixtures


class Split(Section):
    """How rows without a published split are divided; no group is ever divided."""

    validation: float = Field(0.2, gt=0, lt=1)  # share of the training rows
    test: float = Field(0.2, ge=0, lt=1)  # share of all rows, where the source names no test rows
    seed: int = 0


class Input(Section):
    """What the network sees of an image."""

    size: int = Field(64, ge=8, le=1024)  # side in pixels
    crop: int | None = Field(None, ge=4)  # central crop of this side in source pixels; None: the whole image, resized

"""The sections of the experiment file on sweeps, heatmaps, comparisons and screens."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cellml.config.base import Section
from cellml.config.data import Data

# files of the benchmark beside those of its external sets
RESERVED = ("table", "cells", "members", "sequences", "experts")


class Range(Section):
    """A numeric axis of a sweep."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"expected low <= high, got {self.low} > {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"expected low > 0 on a logarithmic axis, got {self.low}")
        return self


Space = dict[str, Range | list[Any]]


class Sweep(Section):
    """An Optuna study over backbone x strategy x hyper-parameters."""

    mode: Literal["rank", "best"] = "rank"
    trials: int = Field(12, ge=1)
    timeout: float | None = Field(None, gt=0)  # seconds
    workers: int = Field(1, ge=0)  # processes here; 0: trials run where `cellml worker` joins
    engine: Literal["local", "ray"] = (
        "local"  # ray: trials are tasks on the cluster of RAY_ADDRESS, else of this machine
    )
    cpus: float = Field(1, gt=0)  # processors that a trial needs, for Ray
    gpus: float = Field(0, ge=0)
    seed: int = 0
    sampler: Literal["tpe", "random"] = "tpe"  # of mode best; rank draws the same random candidates for every cell
    pruner: Literal["none", "median", "percentile", "hyperband", "wilcoxon"] = "median"  # of mode best; rank: none
    warmup_epochs: int = Field(5, ge=0)
    backbones: list[str] = []  # empty: model.backbone alone
    strategies: list[str] = []  # empty: sampling.strategy alone
    space: Space = {}  # dotted path -> range or list of choices; one mapping alone is set
    per_backbone: dict[str, Space] = {}  # the same, for one backbone only
    versions: Literal["best", "all"] = "best"  # best: a version a backbone x strategy cell; all: every complete trial


class Explain(Section):
    """Heatmaps of a run."""

    methods: list[str] = ["gradcam"]
    options: dict[str, dict[str, Any]] = {}  # of methods, by their names
    count: int = Field(16, ge=0)  # images a class on the contact sheets; 0 for no heatmaps at all
    measured: int = Field(16, ge=0)  # images that every method's maps are scored on
    thorough: bool | None = None  # also sensitivity to noise and the check by random weights; None: in `explain` alone


class Compare(Section):
    """The benchmark table."""

    entries: str = "champions"  # champions, cells, all, or models:/ URIs separated by commas
    metric: str = "balanced_accuracy"  # what ranks
    baselines: list[str] = []  # simple opponents fitted in the same run: thumbnail_forest
    external: dict[str, Data] = {}  # further test sets by name, each as under `data`; its `classes` are the models'
    resamples: int = Field(2000, ge=100)
    seed: int = 0

    @field_validator("external", mode="after")
    @classmethod
    def _names(cls, external: dict[str, Data]) -> dict[str, Data]:
        """Names of files and of columns."""
        for name in external:
            if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name, re.ASCII) or name.lower() in RESERVED:
                raise ValueError(
                    f"expected a name of letters, digits, - and _ for an external set, other than {', '.join(RESERVED)}"
                    f", got {name!r}"
                )
        if len({name.lower() for name in external}) < len(external):
            raise ValueError(f"expected names of external sets that differ in more than case, got {list(external)}")
        return external


class Screen(Section):
    """A screen: wells with controls and treatments, by the score of a registered model."""

    negative: str = ""  # control that others are to look like: the wild type, say
    positive: str = ""  # control at the other end of the score: the disease, say
    plate: str | None = "plate"  # column; null where there is one plate
    well: str | None = "well"  # column; names such as B07 are drawn as plates; null: data.group says what is a well
    treatment: str | None = None  # column; data.label, and values beyond data.classes, without it
    score: str = "logit"  # logit, probability, probability:CLASS or discriminant
    against: Literal["positive", "negative"] = "positive"  # control that treatments are tested against
    rows: Literal["unseen", "all"] = "unseen"  # unseen: leave out the model's training and validation images
    normalise: Literal["none", "plate"] = "none"  # plate: medians of a plate's controls become 0 and 1
    bootstrap: Literal["wells", "plates"] = "wells"  # what is drawn anew for the intervals
    resamples: int = Field(2000, ge=100)
    seed: int = 0

    @field_validator("score")
    @classmethod
    def _score(cls, score: str) -> str:
        name, colon, which = score.partition(":")
        if name not in ("logit", "probability", "discriminant") or (colon and (name != "probability" or not which)):
            raise ValueError("expected logit, probability, probability:CLASS or discriminant")
        return score

"""The experiment file: one validated, immutable object for everything a run depends on.

Every field's dotted path (`train.lr`) is its name in the file, in a sweep's space, on the command line and among
the parameters of an MLflow run.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cellml import faults
from cellml.errors import UserError, near

RESERVED = ("table", "cells", "experts")  # files of the benchmark beside those of its external sets


class Section(BaseModel):
    """A part of the experiment file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    unlisted: Literal["error", "drop"] = "error"  # rows whose label is not among `classes`
    group: str | list[str] | None = None  # columns of what may not be split; "parent" for a file's folder
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


class Lora(Section):
    """Low-rank updates of the backbone's layers, W + (alpha / rank) B A."""

    rank: int = Field(8, ge=1)
    alpha: float = Field(16.0, gt=0)
    targets: list[str] = []  # layers by name or its end, with *: qkv, blocks.*.mlp.fc1; empty: qkv, proj, fc1, fc2, ...


class Model(Section):
    """The classifier."""

    backbone: str = "resnet10t"  # any timm name, or torchvision/<name>
    weights: str = "none"  # none, pretrained, a local file, or models:/NAME@ALIAS
    # finetune: every weight; last_stage: the last stage and the head; lora: low-rank updates and the last layer;
    # head: a head with a hidden layer by itself; frozen: a linear one, on embeddings that are computed once
    mode: Literal["finetune", "last_stage", "lora", "head", "frozen"] = "finetune"
    hidden: int = Field(256, ge=1)  # units of the hidden layer of mode head
    lora: Lora = Lora()  # of mode lora
    dropout: float = Field(0.0, ge=0, lt=1)
    options: dict[str, Any] = {}  # further keyword options of the backbone's constructor
    attention: str = "none"  # block@stage, block@pool, or several: se@2+se1d@pool; also {block: se, stage: 2}, a list

    @field_validator("attention", mode="before")
    @classmethod
    def _placed(cls, attention: Any) -> str:
        """One text, whichever way the blocks and their places are written."""
        parts = attention if isinstance(attention, list) and attention else [attention]
        mapped = [
            f"{p['block']}@{p['stage']}" if isinstance(p, dict) and set(p) == {"block", "stage"} else p for p in parts
        ]
        text = "+".join(str(part) for part in mapped).replace(" ", "")
        found = text.split("+")
        if text != "none" and not all(re.fullmatch(r"[a-z]\w*@([1-9]\d?|pool)", part) for part in found):
            raise ValueError(
                "expected none, BLOCK@STAGE such as cbam@3 or se1d@pool, or several such as se@2+se1d@pool"
            )
        if len(set(found)) < len(found):
            raise ValueError("expected every attention block once at a place; leave the second out")
        return text


class Step(Section):
    """A step of a recipe: a sampling strategy on some of the labels."""

    method: str  # any sampling strategy
    between: list[str] = []  # labels it sees: classes, mixtures such as "A:B 1:2", pure, mixed; empty: all
    target: list[str] = []  # labels whose rows it may add to or leave out; empty: the method's own choice
    space: Literal["embeddings", "pixels"] | None = None  # where it looks for neighbours
    k: int | None = Field(None, ge=1)  # neighbours
    ratio: float | None = Field(None, gt=0, le=1)


class Sampling(Section):
    """How training rows are resampled or weighted, after splitting."""

    strategy: str = "none"  # a registered strategy, or one of `recipes`
    options: dict[str, Any] = {}
    recipes: dict[str, list[Step]] = {}  # strategies of several steps, by their names
    embeddings: str = "model"  # space embeddings: of model.backbone with model.weights, out_of_fold, or models:/...
    pixels: int = Field(16, ge=2)  # space pixels: side of the images that are compared

    @field_validator("embeddings")
    @classmethod
    def _known(cls, embeddings: str) -> str:
        if embeddings not in ("model", "out_of_fold") and not embeddings.startswith("models:/"):
            raise ValueError("expected model, out_of_fold or models:/NAME@ALIAS")
        return embeddings


class Augment(Section):
    """Random changes of training images, drawn per sample; 0 or false turns one off."""

    flip: bool = True  # horizontal and vertical, each with probability 1/2
    rotate: float = Field(180.0, ge=0, le=180)  # degrees, uniform in [-rotate, rotate]
    scale: float = Field(0.1, ge=0, lt=1)  # factor uniform in [1 - scale, 1 + scale]
    shift: float = Field(0.05, ge=0, lt=1)  # share of the side, each axis
    brightness: float = Field(0.1, ge=0, le=1)  # additive, as a share of the range
    contrast: float = Field(0.1, ge=0, lt=1)  # factor around the image's mean
    color: float = Field(0.0, ge=0, lt=1)  # factor per channel: stain or colour jitter
    noise: float = Field(0.0, ge=0, lt=1)  # standard deviation, as a share of the range
    erase: float = Field(0.0, ge=0, le=1)  # probability of erasing a random rectangle
    stain: float = Field(0.0, ge=0, lt=1)  # colour images of H&E or HED: factor and offset of each stain
    mixup: float = Field(0.0, ge=0)  # alpha of the Beta distribution
    cutmix: float = Field(0.0, ge=0)  # the same, of a rectangle from another image; with both, a batch draws one


class Train(Section):
    """Fitting."""

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(32, ge=2)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    layer_decay: float = Field(1.0, gt=0, le=1)  # factor of the learning rate from each layer to the one before it
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    lr_after: dict[int, float] = {}  # schedule constant: epochs done -> the learning rate from there on
    loss: str = "cross_entropy"
    loss_options: dict[str, Any] = {}
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    soft_labels: bool = True  # learn the labels' shares where the data have them; false: the class alone
    auxiliary: float = Field(0.0, ge=0)  # weight of the mean loss of the labels in data.auxiliary
    ema: float = Field(0.0, ge=0, lt=1)  # decay of the averaged weights, per step; 0: none
    patience: int | None = Field(None, ge=1)  # epochs without a better `monitor` before stopping
    monitor: str = "balanced_accuracy"  # validation metric that picks the best epoch and the best trial
    keep: Literal["best", "last"] = "best"  # epoch whose weights are kept; last: what a refit without validation gets
    tta: Literal["none", "d4"] = "none"  # average over the eight flips and quarter turns when predicting
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1)  # batches an epoch, for equal budgets; None: every sampled row once
    folds: int | None = Field(None, ge=2)  # judge by cross-validation on training and validation rows together
    repeats: int = Field(1, ge=1)  # of the cross-validation, each with another division and seed
    ensemble: Literal["mean", "accuracy", "f1_macro"] = "mean"  # how the folds' networks are weighted
    calibrate: Literal["none", "temperature", "balanced"] = (
        "none"  # on the validation predictions; balanced: of classes
    )
    # that count the same, so that the most probable class serves balanced accuracy
    refit: bool = False  # fit the chosen model once more on training and validation rows together
    seed: int = 0
    augment: Augment = Augment()

    @field_validator("calibrate", mode="before")
    @classmethod
    def _switch(cls, calibrate: Any) -> Any:
        return {True: "temperature", False: "none"}[calibrate] if isinstance(calibrate, bool) else calibrate

    @model_validator(mode="after")
    def _steps(self) -> "Train":
        if self.keep == "last" and self.patience:
            raise ValueError(
                "patience stops at the best epoch, keep: last asks for the last one; leave one of them out"
            )
        if self.lr_after and self.schedule != "constant":
            raise ValueError(f"lr_after needs schedule: constant, got {self.schedule}; set it, or leave lr_after out")
        if any(epoch < 1 or not rate > 0 for epoch, rate in self.lr_after.items()):
            raise ValueError(f"expected lr_after as epochs from 1 on and rates above 0, got {self.lr_after}")
        return self


class Pretrain(Section):
    """Self-supervised pretraining of the backbone on the training images, without their labels (VICReg)."""

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(64, ge=8)
    lr: float = Field(3e-3, gt=0)  # peak of a one-cycle schedule
    weight_decay: float = Field(0.01, ge=0)
    width: int = Field(512, ge=8)  # of the projector behind the backbone, three layers
    probe: int = Field(10, ge=1)  # epochs from one linear probe on the validation rows to the next
    augment: Augment = Augment(scale=0.2, shift=0.1, noise=0.02, erase=0.2)  # of a view: to spare what tells classes

    @field_validator("augment")
    @classmethod
    def _unlabelled(cls, augment: Augment) -> Augment:
        if augment.mixup or augment.cutmix:
            raise ValueError("expected mixup and cutmix 0, they mix labels and there are none; leave them out")
        return augment


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
    workers: int = Field(1, ge=1)
    seed: int = 0
    sampler: Literal["tpe", "random"] = "tpe"  # of mode best; rank draws the same random candidates for every cell
    pruner: Literal["none", "median", "percentile", "hyperband", "wilcoxon"] = "median"  # of mode best; rank: none
    warmup_epochs: int = Field(5, ge=0)
    backbones: list[str] = []  # empty: model.backbone alone
    strategies: list[str] = []  # empty: sampling.strategy alone
    space: Space = {}  # dotted path -> range or list of choices; one mapping alone is set
    per_backbone: dict[str, Space] = {}  # the same, for one backbone only


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


class Experiment(Section):
    """One experiment file."""

    name: str = Field(min_length=1, max_length=100)
    description: str = ""
    data: Data = Data()
    split: Split = Split()
    input: Input = Input()
    model: Model = Model()
    sampling: Sampling = Sampling()
    train: Train = Train()
    pretrain: Pretrain = Pretrain()
    sweep: Sweep = Sweep()
    explain: Explain = Explain()
    compare: Compare = Compare()
    budgets: dict[str, dict[str, Any]] = {}  # name -> dotted path -> value: what `-P budget=NAME` sets otherwise

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if name != name.strip() or "\n" in name:
            raise ValueError("expected a name without surrounding spaces or line breaks")
        return name

    @model_validator(mode="after")
    def _folds(self) -> "Experiment":
        folds = (self.train.folds or 0) * self.train.repeats
        if self.sweep.pruner == "wilcoxon" and folds < 10:
            raise ValueError(f"sweep.pruner: wilcoxon needs 10 folds or more, got {folds}; set train.folds, or median")
        if self.sweep.pruner == "hyperband" and folds:
            raise ValueError("sweep.pruner: hyperband counts epochs, train.folds is set; choose median or percentile")
        return self

    @model_validator(mode="after")
    def _budget_paths(self) -> "Experiment":
        known = sorted(set(self.flat()) - {"budgets"})
        for name, values in self.budgets.items():
            for path in values:
                if path not in known:
                    raise ValueError(f"budgets.{name}: {path!r} is no key of an experiment: {near(path, known)}")
        return self

    @model_validator(mode="after")
    def _space_paths(self) -> "Experiment":
        known = set(self.flat())
        spaces = [("sweep.space", self.sweep.space)]
        spaces += [(f"sweep.per_backbone.{b}", s) for b, s in self.sweep.per_backbone.items()]
        for where, space in spaces:
            for path in space:
                section = path.split(".", 1)[0]
                if path not in known or section not in ("input", "model", "sampling", "train"):
                    fitting = [k for k in known if k.split(".")[0] in ("input", "model", "sampling", "train")]
                    raise ValueError(f"{where}: {path!r} cannot be swept: {near(path, fitting)}")
            for path, axis in space.items():
                if axis == []:
                    raise ValueError(f"{where}: expected choices for {path!r}, got an empty list; add some")
                for value in axis if isinstance(axis, list) else (axis.low, axis.high):
                    _try_value(self, where, path, int(value) if isinstance(axis, Range) and axis.integer else value)
        if self.sweep.backbones:
            for backbone in self.sweep.per_backbone:
                if backbone not in self.sweep.backbones:
                    hint = near(backbone, self.sweep.backbones)
                    raise ValueError(f"sweep.per_backbone: {backbone!r} is not in sweep.backbones: {hint}")
        return self

    def flat(self) -> dict[str, Any]:
        """Dotted path -> value of every leaf; free-form `options` stay whole."""
        return _flatten(self)

    def replace(self, values: Mapping[str, Any]) -> "Experiment":
        """A copy with the given dotted paths set, validated again.

        Raises:
            UserError: a path that does not exist, or a value that does not fit.
        """
        tree = self.model_dump(mode="json")
        for path, value in values.items():
            *parents, leaf = path.split(".")
            node: Any = tree
            for parent in parents:
                node = node.get(parent) if isinstance(node, dict) else None
            if not isinstance(node, dict) or leaf not in node:
                raise UserError(f"Unknown experiment key {path!r}: {near(path, self.flat())}")
            node[leaf] = value
        return parse(tree)

    def within(self, budget: str) -> "Experiment":
        """A copy with what a budget sets otherwise, and without budgets.

        Raises:
            UserError: no such budget, or a value that does not fit.
        """
        if not self.budgets:
            raise UserError(f"Expected a budget that the experiment names under budgets, got {budget!r} and none there")
        if budget not in self.budgets:
            raise UserError(f"Unknown budget {budget!r}: {near(budget, self.budgets)}")
        return self.replace({**self.budgets[budget], "budgets": {}})

    def yaml(self) -> str:
        """The whole experiment, defaults included, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def fingerprint(self) -> str:
        """Eight hex digits of everything that decides a trial's result: not the budget, the comparison or the text."""
        tree = self.model_dump(mode="json", exclude={"description", "compare", "explain", "pretrain", "budgets"})
        for budget in ("trials", "timeout", "workers"):
            del tree["sweep"][budget]
        for machine in ("threads", "device"):
            del tree["train"][machine]
        del tree["data"]["path"]
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:8]


def load(path: str | Path) -> Experiment:
    """Read an experiment file.

    Raises:
        UserError: no such file, not YAML, an unknown key, or a value that does not fit.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(
            f"Expected an experiment file, found none at {file}; give its path with -P experiment=FILE.yaml"
        )
    try:
        tree = faults.read(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid YAML: {faults.of_yaml(error)}") from None
    if not isinstance(tree, dict):
        raise UserError(f"Expected keys and values in {file} (name:, data:, ...), got {type(tree).__name__}")
    return parse(tree, str(file))


def parse(tree: Mapping[str, Any], source: str = "") -> Experiment:
    """Validate a tree of keys and values; `source` says where they stand, for messages.

    Raises:
        UserError: names the first wrong key by its dotted path, what was expected and what came.
    """
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{source}{': ' if source else ''}{faults.of_values(error, Experiment)}") from None


def _try_value(experiment: Experiment, where: str, path: str, value: Any) -> None:
    section, _, rest = path.partition(".")
    part: Any = getattr(experiment, section)
    tree = part.model_dump()
    node = tree
    *parents, leaf = rest.split(".")
    for parent in parents:
        node = node[parent]
    node[leaf] = value
    try:
        type(part).model_validate(tree)
    except ValidationError as error:
        raise ValueError(f"{where}: {path} cannot be {value!r}: {error.errors()[0]['msg'].lower()}") from None


def _flatten(section: Section, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat

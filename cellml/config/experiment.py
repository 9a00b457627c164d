"""The experiment file as a whole: read, validated, changed, told apart from others."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from cellml import faults
from cellml.config.base import Section
from cellml.config.data import Data, Input, Split
from cellml.config.model import Model
from cellml.config.sequence import Sequence
from cellml.config.study import Compare, Explain, Range, Screen, Sweep
from cellml.config.training import Pretrain, Sampling, Train
from cellml.errors import UserError, near


class Experiment(Section):
    """One experiment file."""

    name: str = Field(min_length=1, max_length=100)
    description: str = ""
    data: Data = Data()
    split: Split = Split()
    input: Input = Input()
    model: Model = Model()
    sequence: Sequence = Sequence()
    sampling: Sampling = Sampling()
    train: Train = Train()
    pretrain: Pretrain = Pretrain()
    sweep: Sweep = Sweep()
    explain: Explain = Explain()
    compare: Compare = Compare()
    screen: Screen = Screen()
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
                if isinstance(getattr(self, path, None), Section):
                    raise ValueError(
                        f"budgets.{name}: expected dotted paths such as {path}.KEY, got the section {path}"
                    )
                if path not in known:
                    raise ValueError(f"budgets.{name}: {path!r} is no key of an experiment: {near(path, known)}")
        return self

    @model_validator(mode="after")
    def _space_paths(self) -> "Experiment":
        known = set(self.flat())
        swept = ("input", "model", "sequence", "sampling", "train")
        spaces = [("sweep.space", self.sweep.space)]
        spaces += [(f"sweep.per_backbone.{b}", s) for b, s in self.sweep.per_backbone.items()]
        for where, space in spaces:
            for path in space:
                section = path.split(".", 1)[0]
                if path not in known or section not in swept:
                    fitting = [k for k in known if k.split(".")[0] in swept]
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
        try:
            return self.replace({**self.budgets[budget], "budgets": {}})
        except UserError as error:
            raise UserError(f"budgets.{budget}: {error}") from None

    def yaml(self) -> str:
        """The whole experiment, defaults included, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def fingerprint(self) -> str:
        """Eight hex digits of everything that decides a trial's result: not the budget, the comparison or the text."""
        return self.digest()[:8]

    def digest(self) -> str:
        """The 64 hex digits that `fingerprint` begins."""
        tree = self.model_dump(
            mode="json", exclude={"description", "compare", "explain", "pretrain", "screen", "budgets"}
        )
        for key in ("trials", "timeout", "workers", "engine", "cpus", "gpus", "versions"):
            del tree["sweep"][key]
        for machine in ("threads", "device", "checkpoint"):
            del tree["train"][machine]
        for note in ("path", "keep"):
            del tree["data"][note]
        if self.sequence == Sequence():
            del tree["sequence"]  # studies of images keep the digits that they had before there were sequences
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


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

"""Strategies of several steps, each on some of the soft-label groups.

Within a step the groups (see `TrainingRows.kinds`) are the classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cellml.config import Step
from cellml.errors import UserError, near
from cellml.sampling.base import Sample, TrainingRows
from cellml.sampling.members import MAKES, STRATEGIES, plain


def check(name: str, steps: Sequence[Step]) -> None:
    """Refuse a recipe with misspelt methods or options, before anything is computed.

    Raises:
        UserError: a recipe with a strategy's name or without steps, an unknown method, or an option it does not take.
    """
    if name in STRATEGIES:
        raise UserError(f"Expected a recipe's name that no strategy has, got {name!r}; rename it in sampling.recipes")
    if not steps:
        raise UserError(f"Expected steps in recipe {name!r}, got none; give it a list of {{method: ...}}")
    for number, step in enumerate(steps, start=1):
        try:
            STRATEGIES.options(step.method, _options(step, step.target))
        except UserError as error:
            raise UserError(f"step {number} of recipe {name!r}: {error}") from None


def known(strategy: str, recipes: Iterable[str]) -> None:
    """Refuse a name that is neither a strategy's nor a recipe's.

    Raises:
        UserError: such a name, with near ones.
    """
    names = [*STRATEGIES, *recipes]
    if strategy not in names:
        raise UserError(f"Expected a sampling strategy, got {strategy!r}: {near(strategy, names)}")


def no_options(recipe: str, options: Mapping[str, Any]) -> None:
    """Refuse options of a recipe.

    Raises:
        UserError: there are any.
    """
    if options:
        raise UserError(
            f"Unknown option {next(iter(options))!r} of recipe {recipe!r}: it takes no options; set them in its steps"
        )


def apply(name: str, steps: Sequence[Step], rows: TrainingRows, rng: np.random.Generator) -> Sample:
    """Take the steps one after the other, each on the sample that the ones before it left.

    A step sees the items of the kinds in `between`; it adds to or takes from those in `target`, and the others stay as
    they are. Steps that make new items see, and count, the real rows left, each once.

    Args:
        name: the recipe's.
        steps: at least one.
        rows: the training rows.
        rng: used by the steps in turn, so that a recipe of one step that sees everything is its method.

    Raises:
        UserError: a kind that the rows do not have, or a method's own complaint.
    """
    items = _Items.all(rows)
    notes: list[str] = []
    for number, step in enumerate(steps, start=1):
        where = f"step {number} of recipe {name!r}"
        between = _kinds(step.between, rows, where)
        target = _target(step, between, rows, where)
        seen = items.seen(rows, between, real=STRATEGIES.marked(step.method, MAKES))
        left = set(rows.kinds[items.rows[seen]])
        if missing := [kind for kind in target or between if kind not in left]:
            notes.append(f"{where}: no rows of {', '.join(missing)} are left")
            if len(missing) == len(target or between):
                continue
        view = items.view(rows, seen)
        if step.method == "pure":  # the one that asks for what a step's classes no longer tell
            outcome = plain(np.flatnonzero(np.isin(view.kinds, rows.classes)))
        else:
            outcome = STRATEGIES[step.method](view, rng, **_options(step, [kind for kind in target if kind in left]))
        notes += [f"{where}: {note}" for note in outcome.notes]
        items = items.after(seen, outcome)
    if not len(items.rows):
        raise UserError(f"Expected recipe {name!r} to leave some rows, it left none; loosen its steps")
    return items.sample(tuple(notes))


@dataclass(frozen=True)
class _Items:
    """The sample so far: its items' arrays, (M,) each, as in `Sample`; `often` is M times an item's probability."""

    rows: npt.NDArray[np.int64]
    partners: npt.NDArray[np.int64]
    mix: npt.NDArray[np.float32]
    transforms: npt.NDArray[np.int8]
    weights: npt.NDArray[np.float64]
    often: npt.NDArray[np.float64]
    drawn: bool = False
    seed: int = 0

    @classmethod
    def all(cls, rows: TrainingRows) -> "_Items":
        n = len(rows)
        every, none = np.arange(n), np.zeros(n)
        return cls(every, every, none.astype(np.float32), none.astype(np.int8), np.ones(n), np.ones(n))

    def seen(self, rows: TrainingRows, kinds: Sequence[str], real: bool) -> npt.NDArray[np.int64]:
        """Positions of the items of some kinds; `real`: of the training rows among them, each once."""
        chosen = np.flatnonzero(np.isin(rows.kinds[self.rows], kinds))
        if not real:
            return chosen
        chosen = chosen[(self.mix[chosen] == 0) & (self.transforms[chosen] == 0)]
        return chosen[np.sort(np.unique(self.rows[chosen], return_index=True)[1])]

    def view(self, rows: TrainingRows, seen: npt.NDArray[np.int64]) -> TrainingRows:
        """The seen items as training rows, with their kinds as classes."""
        part = self.part(seen)
        kinds = rows.kinds[part.rows]
        classes = tuple(name for name in _all_kinds(rows) if name in set(kinds))
        index = {kind: k for k, kind in enumerate(classes)}
        sample = part.sample()
        return TrainingRows(
            ids=np.array([f"{i}" for i in range(len(seen))], dtype=object),
            targets=np.array([index[kind] for kind in kinds], dtype=np.int64),
            groups=rows.groups[part.rows],
            classes=classes,
            spaces={name: partial(_placed, sample, rows, name) for name in rows.spaces},
        )

    def after(self, seen: npt.NDArray[np.int64], outcome: Sample) -> "_Items":
        """The items that were not seen, then what a step made of those that were."""
        kept = self.part(np.setdiff1d(np.arange(len(self.rows)), seen))
        made = self.part(seen[outcome.rows])
        weights = made.weights * outcome.weights
        often = made.often if outcome.draw is None else made.often * outcome.draw * len(outcome)
        made = replace(made, weights=weights, often=often)
        if outcome.mix is not None and outcome.partners is not None:
            new = outcome.mix > 0
            made = replace(
                made,
                partners=np.where(new, self.rows[seen[outcome.partners]], made.partners),
                mix=np.where(new, outcome.mix, made.mix),
            )
        seed = self.seed
        if outcome.transforms is not None:
            made = replace(made, transforms=np.where(outcome.transforms > 0, outcome.transforms, made.transforms))
            seed = outcome.seed
        arrays = ("rows", "partners", "mix", "transforms", "weights", "often")
        joined = {name: np.concatenate([getattr(kept, name), getattr(made, name)]) for name in arrays}
        return _Items(**joined, drawn=self.drawn or outcome.draw is not None, seed=seed)

    def part(self, chosen: npt.NDArray[np.int64]) -> "_Items":
        """Some items, by position."""
        arrays = ("rows", "partners", "mix", "transforms", "weights", "often")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})

    def sample(self, notes: tuple[str, ...] = ()) -> Sample:
        """The items as a sample."""
        mixed, changed = (self.mix > 0).any(), (self.transforms > 0).any()
        return Sample(
            rows=self.rows,
            weights=(self.weights / self.weights.mean()).astype(np.float32),
            draw=self.often / self.often.sum() if self.drawn else None,
            partners=self.partners if mixed else None,
            mix=self.mix if mixed else None,
            transforms=self.transforms if changed else None,
            seed=self.seed,
            notes=notes,
        )


def _all_kinds(rows: TrainingRows) -> list[str]:
    """Classes in their order, then the mixtures there are, by name."""
    return [*rows.classes, *sorted(set(rows.kinds) - set(rows.classes))]


def _kinds(names: Sequence[str], rows: TrainingRows, where: str) -> list[str]:
    every = _all_kinds(rows)
    mixtures = every[rows.num_classes :]
    chosen = set()
    for name in names or every:
        if name in every:
            chosen.add(name)
        elif name == "pure":
            chosen.update(rows.classes)
        elif name == "mixed" and mixtures:
            chosen.update(mixtures)
        elif name == "mixed":
            raise UserError(f"Expected mixed labels for {where}, got pure ones only; give the rows soft labels")
        else:
            raise UserError(f"Expected labels of training rows in {where}, got {name!r}: {near(name, every)}")
    return [name for name in every if name in chosen]


def _target(step: Step, between: Sequence[str], rows: TrainingRows, where: str) -> list[str]:
    if not step.target:
        return []
    target = [kind for kind in _kinds(step.target, rows, where) if kind in between]
    if not target:
        raise UserError(
            f"Expected the target of {where} among what it sees, got {step.target} with between {step.between}; "
            "add the one to the other"
        )
    return target


def _placed(sample: Sample, rows: TrainingRows, space: str) -> npt.NDArray[np.floating]:
    return sample.features(rows.space(space))


def _options(step: Step, target: Sequence[str]) -> dict[str, Any]:
    options = {"space": step.space, "k": step.k, "ratio": step.ratio, "target": list(target) or None}
    empty = {"may_empty": True} if "may_empty" in STRATEGIES.option_names(step.method) else {}
    return {name: value for name, value in options.items() if value is not None} | empty

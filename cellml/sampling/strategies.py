"""Sampling strategies by name: which training rows a network sees, how often, and with which weight."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cellml.config import Step
from cellml.sampling import clean, interpolate, repeat, weights  # noqa: F401 (they register their strategies)
from cellml.sampling import recipes as _recipes
from cellml.sampling.base import Sample, TrainingRows
from cellml.sampling.members import STRATEGIES

__all__ = ["STRATEGIES", "check", "resample"]


def resample(
    strategy: str,
    options: Mapping[str, Any],
    rows: TrainingRows,
    seed: int,
    recipes: Mapping[str, list[Step]] | None = None,
) -> Sample:
    """Apply a strategy by name.

    Args:
        strategy: a name in `STRATEGIES`, or a recipe's.
        options: its keyword options; a recipe has none.
        rows: the training rows.
        seed: the same seed gives the same sample.
        recipes: name -> steps.

    Raises:
        UserError: an unknown strategy or option, an option's value out of range, or a recipe that does not fit.
        ValueError: the strategy's answer breaks the contract.
    """
    check(strategy, options, recipes)
    rng = np.random.default_rng(seed)
    if recipes and strategy in recipes:
        sample = _recipes.apply(strategy, recipes[strategy], rows, rng)
    else:
        sample = STRATEGIES[strategy](rows, rng, **options)
    _conforms(strategy, sample, rows)
    return sample


def check(strategy: str, options: Mapping[str, Any], recipes: Mapping[str, list[Step]] | None = None) -> None:
    """Refuse misspelt names before anything is computed.

    Args:
        strategy: a name in `STRATEGIES`, or a recipe's.
        options: its keyword options; a recipe has none.
        recipes: name -> steps; all of them are looked at.

    Raises:
        UserError: an unknown strategy, method or option.
    """
    for name, steps in (recipes or {}).items():
        _recipes.check(name, steps)
    if recipes and strategy in recipes:
        _recipes.no_options(strategy, options)
    else:
        _recipes.known(strategy, recipes or {})
        STRATEGIES.options(strategy, dict(options))


def taken(strategy: str, options: Mapping[str, Any], recipes: Mapping[str, list[Step]] | None = None) -> dict[str, Any]:
    """Those of the options that a strategy takes: several strategies of a sweep share one set of options."""
    if recipes and strategy in recipes:
        return {}
    _recipes.known(strategy, recipes or {})
    known = STRATEGIES.option_names(strategy)
    return {name: value for name, value in options.items() if name in known}


def _conforms(strategy: str, sample: Sample, rows: TrainingRows) -> None:
    shape = sample.rows.shape
    if sample.rows.ndim != 1 or not shape[0] or sample.weights.shape != shape:
        raise ValueError(f"strategy {strategy!r} answered rows {shape} and weights {sample.weights.shape}")
    parents = [sample.rows] if sample.partners is None else [sample.rows, sample.partners]
    if any(p.min() < 0 or p.max() >= len(rows) for p in parents):
        raise ValueError(f"strategy {strategy!r} answered rows outside the training rows")
    if not (sample.weights > 0).all() or not np.isclose(sample.weights.mean(), 1, atol=1e-4):
        raise ValueError(f"strategy {strategy!r} answered weights that are not positive with mean 1")
    if sample.draw is not None and (sample.draw.shape != shape or not np.isclose(sample.draw.sum(), 1)):
        raise ValueError(f"strategy {strategy!r} answered drawing probabilities that do not sum to 1")
    if (sample.mix is None) != (sample.partners is None):
        raise ValueError(f"strategy {strategy!r} answered partners without shares, or shares without partners")
    for name in ("partners", "mix", "transforms"):
        values = getattr(sample, name)
        if values is not None and values.shape != shape:
            raise ValueError(f"strategy {strategy!r} answered rows {shape} and {name} {values.shape}")
    if sample.mix is not None and not ((sample.mix >= 0) & (sample.mix <= 1)).all():
        raise ValueError(f"strategy {strategy!r} answered shares that are not from 0 to 1")

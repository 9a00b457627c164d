"""The axes of a sweep: from an experiment file to Optuna parameters and back."""

import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from cellml.config import Experiment, Range, Space
from cellml.errors import UserError
from cellml.sampling import strategies as sampling

BACKBONE = "model.backbone"
STRATEGY = "sampling.strategy"
_OWN = "|"  # separates a backbone from the path of an axis that only it has


@dataclass(frozen=True)
class Planned:
    """One trial to run: a key that is unique in the study, and the Optuna parameters fixed beforehand."""

    key: str
    params: dict[str, Any]


def backbones(experiment: Experiment) -> list[str]:
    """The backbones of a sweep."""
    return experiment.sweep.backbones or [experiment.model.backbone]


def strategies(experiment: Experiment) -> list[str]:
    """The sampling strategies of a sweep."""
    return experiment.sweep.strategies or [experiment.sampling.strategy]


def cells(experiment: Experiment) -> list[tuple[str, str]]:
    """Every backbone x strategy pair."""
    return list(itertools.product(backbones(experiment), strategies(experiment)))


def plan(experiment: Experiment, trials: int) -> list[Planned]:
    """What to run, in order.

    Mode `rank` goes round the cells: the r-th round gives every cell the same candidate values and the same seed
    (common random numbers), the first round those of the experiment file itself. Mode `best` leaves every value to
    the sampler of one shared study.
    """
    if experiment.sweep.mode == "best":
        return [Planned(f"best/{number}", {}) for number in range(trials)]
    return list(itertools.islice(_rounds(experiment), trials))


def suggest(trial: optuna.Trial | optuna.trial.FixedTrial, experiment: Experiment) -> Experiment:
    """The experiment of one trial: each axis asked of Optuna, conditional axes of the chosen backbone alone."""
    values: dict[str, Any] = {
        BACKBONE: trial.suggest_categorical(BACKBONE, backbones(experiment)),
        STRATEGY: trial.suggest_categorical(STRATEGY, strategies(experiment)),
    }
    for name, axis in _axes(experiment, values[BACKBONE]).items():
        values[name.split(_OWN)[-1]] = _suggest(trial, name, axis)
    own = experiment.sampling
    if len(strategies(experiment)) > 1:  # they share the options; each has those that it takes
        values.setdefault("sampling.options", sampling.taken(values[STRATEGY], own.options, own.recipes))
    repeat = trial.user_attrs.get("repeat", 0)
    return experiment.replace({**values, "train.seed": experiment.train.seed + repeat})


def _rounds(experiment: Experiment) -> Iterator[Planned]:
    for repeat in itertools.count():
        for backbone, strategy in cells(experiment):
            params = {BACKBONE: backbone, STRATEGY: strategy}
            for name, axis in _axes(experiment, backbone).items():
                params[name] = _candidate(experiment, name, axis, repeat)
            yield Planned(f"{backbone}/{strategy}/{repeat}", params)


def _axes(experiment: Experiment, backbone: str) -> Space:
    """Optuna parameter name -> axis, for one backbone; its own axes replace the shared ones."""
    own = experiment.sweep.per_backbone.get(backbone, {})
    shared = {path: axis for path, axis in experiment.sweep.space.items() if path not in own}
    return shared | {f"{backbone}{_OWN}{path}": axis for path, axis in own.items()}


def _candidate(experiment: Experiment, name: str, axis: Range | list[Any], repeat: int) -> Any:
    path = name.rsplit(_OWN, maxsplit=1)[-1]
    if repeat == 0 and _holds(axis, value := experiment.flat()[path]):
        return value
    # the same draw for every cell: seeded by the path and the round, not by the cell
    rng = np.random.default_rng([experiment.sweep.seed, repeat, zlib.crc32(path.encode())])
    if isinstance(axis, list):
        return axis[int(rng.integers(len(axis)))]
    share = float(rng.random())
    if axis.log:
        value = float(np.exp(np.log(axis.low) + share * (np.log(axis.high) - np.log(axis.low))))
    else:
        value = axis.low + share * (axis.high - axis.low)
    if axis.step:
        value = axis.low + round((value - axis.low) / axis.step) * axis.step
    value = min(max(value, axis.low), axis.high)
    return round(value) if axis.integer else value


def _holds(axis: Range | list[Any], value: Any) -> bool:
    if isinstance(axis, list):
        return value in axis
    if not isinstance(value, int | float) or not axis.low <= value <= axis.high:
        return False
    if not axis.step:
        return True
    steps = (value - axis.low) / axis.step
    return math.isclose(steps, round(steps), abs_tol=1e-9)


def _suggest(trial: optuna.Trial | optuna.trial.FixedTrial, name: str, axis: Range | list[Any]) -> Any:
    if isinstance(axis, list):
        if not axis or not all(isinstance(v, None | bool | int | float | str) for v in axis):
            raise UserError(f"Expected a list of plain values for sweep axis {name!r}, got {axis}")
        return trial.suggest_categorical(name, axis)
    if axis.integer:
        step = int(axis.step or 1)
        return trial.suggest_int(name, round(axis.low), round(axis.high), log=axis.log, step=1 if axis.log else step)
    return trial.suggest_float(name, axis.low, axis.high, log=axis.log, step=None if axis.log else axis.step)

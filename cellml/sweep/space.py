"""The axes of a sweep: from an experiment file to Optuna parameters and back."""

import itertools
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import optuna

from cellml.config import Experiment, Model, Range, Space
from cellml.errors import UserError
from cellml.sampling import strategies as sampling

BACKBONE = "model.backbone"
STRATEGY = "sampling.strategy"
ATTENTION = "model.attention"
_PLAIN = None | bool | int | float | str
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


def placements(experiment: Experiment) -> list[str]:
    """The attention blocks and their places of a sweep, of whichever backbone."""
    axes = (axis for backbone in backbones(experiment) for axis in _axes(experiment, backbone).items())
    swept = [value for name, axis in axes if _path(name) == ATTENTION and isinstance(axis, list) for value in axis]
    return list(dict.fromkeys(swept)) or [experiment.model.attention]


def cells(experiment: Experiment) -> list[tuple[str, str]]:
    """Every backbone x strategy pair."""
    return list(itertools.product(backbones(experiment), strategies(experiment)))


def plan(experiment: Experiment, trials: int) -> list[Planned]:
    """What to run, in order.

    Mode `rank` goes round the cells: the r-th round gives every cell the same candidate values and the same seed
    (common random numbers), the first round those of the experiment file itself; of a list of choices every one comes
    once before one comes twice. Mode `best` leaves every value to
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
        values[_path(name)] = axis[0] if _fixed(axis) else _suggest(trial, name, axis)
    own = experiment.sampling
    if len(strategies(experiment)) > 1:  # they share the options; each has those that it takes
        values.setdefault("sampling.options", sampling.taken(values[STRATEGY], own.options, own.recipes))
    repeat = trial.user_attrs.get("repeat", 0)
    return experiment.replace({**values, "train.seed": experiment.train.seed + repeat})


def spoken(params: Mapping[str, Any]) -> str:
    """What was chosen from lists for a trial, of its Optuna parameters: "resnet10t x balanced, attention se@2"."""
    named = {_path(name).rpartition(".")[2]: v for name, v in params.items() if name not in (BACKBONE, STRATEGY)}
    chosen = [f"{name} {value}" for name, value in named.items() if isinstance(value, str)]
    return ", ".join([f"{params.get(BACKBONE)} x {params.get(STRATEGY)}", *chosen])


def _rounds(experiment: Experiment) -> Iterator[Planned]:
    for repeat in itertools.count():
        for backbone, strategy in cells(experiment):
            params = {BACKBONE: backbone, STRATEGY: strategy}
            for name, axis in _axes(experiment, backbone).items():
                if _fixed(axis):
                    continue
                params[name] = _candidate(experiment, name, axis, repeat)
            yield Planned(f"{backbone}/{strategy}/{repeat}", params)


def _axes(experiment: Experiment, backbone: str) -> Space:
    """Optuna parameter name -> axis, for one backbone; its own axes replace the shared ones."""
    own = experiment.sweep.per_backbone.get(backbone, {})
    shared = {path: axis for path, axis in experiment.sweep.space.items() if path not in own}
    axes = shared | {f"{backbone}{_OWN}{path}": axis for path, axis in own.items()}
    return {name: _texts(axis) if _path(name) == ATTENTION else axis for name, axis in axes.items()}


def _fixed(axis: Range | list[Any]) -> TypeGuard[list[Any]]:
    """One mapping is no choice but a setting, such as a backbone's options."""
    return isinstance(axis, list) and len(axis) == 1 and not isinstance(axis[0], _PLAIN)


def _path(name: str) -> str:
    return name.rsplit(_OWN, maxsplit=1)[-1]


def _texts(axis: Range | list[Any]) -> Range | list[Any]:
    """Placements as the texts that they are in `model.attention`, whichever way they are written."""
    return [Model(attention=value).attention for value in axis] if isinstance(axis, list) else axis


def _candidate(experiment: Experiment, name: str, axis: Range | list[Any], repeat: int) -> Any:
    path = _path(name)
    own, code = experiment.flat()[path], zlib.crc32(path.encode())
    # the same draw for every cell: seeded by the path and the round, not by the cell
    if isinstance(axis, list):
        turn, place = divmod(repeat, len(axis))
        order = [axis[k] for k in np.random.default_rng([experiment.sweep.seed, turn, code]).permutation(len(axis))]
        return sorted(order, key=lambda value: value != own)[place]
    if repeat == 0 and _holds(axis, own):
        return own
    rng = np.random.default_rng([experiment.sweep.seed, repeat, code])
    share = float(rng.random())
    if axis.log:
        value = float(np.exp(np.log(axis.low) + share * (np.log(axis.high) - np.log(axis.low))))
    else:
        value = axis.low + share * (axis.high - axis.low)
    if axis.step:
        value = axis.low + round((value - axis.low) / axis.step) * axis.step
    value = min(max(value, axis.low), axis.high)
    return round(value) if axis.integer else value


def _holds(axis: Range, value: Any) -> bool:
    if not isinstance(value, int | float) or not axis.low <= value <= axis.high:
        return False
    if not axis.step:
        return True
    steps = (value - axis.low) / axis.step
    return math.isclose(steps, round(steps), abs_tol=1e-9)


def _suggest(trial: optuna.Trial | optuna.trial.FixedTrial, name: str, axis: Range | list[Any]) -> Any:
    if isinstance(axis, list):
        if not axis or not all(isinstance(v, _PLAIN) for v in axis):
            raise UserError(f"Expected a list of plain values for sweep axis {name!r}, got {axis}")
        return trial.suggest_categorical(name, axis)
    if axis.integer:
        step = int(axis.step or 1)
        return trial.suggest_int(name, round(axis.low), round(axis.high), log=axis.log, step=1 if axis.log else step)
    return trial.suggest_float(name, axis.low, axis.high, log=axis.log, step=None if axis.log else axis.step)

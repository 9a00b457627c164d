"""The Optuna study behind a sweep: its sampler and pruner, and the best of its trials."""

import secrets

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from cellml.config import Experiment
from cellml.sweep import space

FOLDS_OF_WILCOXON = 10  # with fewer folds the signed-rank test has next to no power


def open_study(
    storage: BaseStorage, name: str, experiment: Experiment, maximize: bool, alone: bool = True
) -> optuna.Study:
    """Create a study or go on with the one of that name.

    Args:
        storage: of the study.
        name: of the study.
        experiment: whose sweep section says how trials are chosen.
        maximize: whether a larger value is better.
        alone: no other process draws for it: the draws are those of the seed.
    """
    return optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=_sampler(experiment, alone),
        pruner=_pruner(experiment),
        direction="maximize" if maximize else "minimize",
        load_if_exists=True,
    )


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were trained to their end."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def best_of_cells(study: optuna.Study, experiment: Experiment) -> dict[tuple[str, str], FrozenTrial]:
    """The best complete trial of every backbone x strategy cell that has one."""
    maximize = study.direction == optuna.study.StudyDirection.MAXIMIZE
    best: dict[tuple[str, str], FrozenTrial] = {}
    for trial in complete(study):
        cell = (trial.params[space.BACKBONE], trial.params[space.STRATEGY])
        held = best.get(cell)
        if held is None or (trial.value > held.value if maximize else trial.value < held.value):  # type: ignore[operator]
            best[cell] = trial
    order = space.cells(experiment)
    return {cell: best[cell] for cell in order if cell in best}


def best_first(trials: list[FrozenTrial], study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials, best first; equal values in order of their number."""
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return sorted(trials, key=lambda t: (sign * t.value, t.number))  # type: ignore[operator]


def _sampler(experiment: Experiment, alone: bool) -> optuna.samplers.BaseSampler:
    seed = experiment.sweep.seed if alone else secrets.randbits(31)  # processes must not repeat each other
    if experiment.sweep.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, group=True, n_startup_trials=10)


def _pruner(experiment: Experiment) -> optuna.pruners.BasePruner:
    sweep = experiment.sweep
    if sweep.mode == "rank" or sweep.pruner == "none":
        return optuna.pruners.NopPruner()
    if sweep.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=max(1, sweep.warmup_epochs), max_resource=experiment.train.epochs
        )
    warmup = 2 if experiment.train.folds else sweep.warmup_epochs  # a step is a fold, or an epoch; one fold is noise
    if sweep.pruner == "wilcoxon":
        return optuna.pruners.WilcoxonPruner(n_startup_steps=FOLDS_OF_WILCOXON - 1)
    if sweep.pruner == "percentile":
        return optuna.pruners.PercentilePruner(25.0, n_startup_trials=4, n_warmup_steps=warmup)
    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=warmup)

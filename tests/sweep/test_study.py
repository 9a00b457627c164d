import optuna

from cellml.sweep import queue, space, study


def run(opened, trial, experiment, value):
    space.suggest(trial, experiment)
    opened.tell(trial, value)


def test_best_of_cells_and_order(opened, experiment):
    plan = space.plan(experiment, 8)
    queue.enqueue(opened, plan)
    values = iter([0.1, 0.9, 0.3, 0.4, 0.5, 0.2, 0.3, 0.8])
    while (trial := queue.claim(opened, plan)) is not None:
        run(opened, trial, experiment, next(values))
    best = study.best_of_cells(opened, experiment)
    assert {cell: t.value for cell, t in best.items()} == {
        ("a", "none"): 0.5,
        ("a", "balanced"): 0.9,
        ("b", "none"): 0.3,
        ("b", "balanced"): 0.8,
    }
    assert [t.value for t in study.best_first(list(best.values()), opened)] == [0.9, 0.8, 0.5, 0.3]


def test_rank_never_prunes(experiment):
    assert isinstance(study._pruner(experiment), optuna.pruners.NopPruner)
    assert isinstance(study._pruner(experiment.replace({"sweep.mode": "best"})), optuna.pruners.MedianPruner)

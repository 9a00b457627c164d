"""Optuna's plots: which are drawn, and what they leave behind."""

import matplotlib as mpl
import optuna

from cellml.sweep import plots


def swept(axes, trials=6):
    opened = optuna.create_study(direction="maximize")
    for number in range(trials):
        distributions = {name: optuna.distributions.CategoricalDistribution(choices) for name, choices in axes.items()}
        params = {name: choices[number % len(choices)] for name, choices in axes.items()}
        trial = optuna.trial.create_trial(params=params, distributions=distributions, value=number / 10)
        opened.add_trial(trial)
    return opened


def test_the_plots_leave_the_style_of_later_figures_alone(tmp_path):
    before = {name: value for name, value in mpl.rcParams.items() if not name.startswith("backend")}
    plots.save(swept({"model.backbone": ["a", "b"], "sampling.strategy": ["none", "x", "y"]}), tmp_path)
    assert {name: mpl.rcParams[name] for name in before} == before
    assert {path.name for path in tmp_path.iterdir()} == {*(f"{name}.png" for name in plots.PLOTS), "optuna.html"}


def test_importances_of_a_single_parameter_are_left_out(tmp_path):
    plots.save(swept({"model.backbone": ["a"], "sampling.strategy": ["none", "x"]}), tmp_path)
    assert not (tmp_path / "importances.png").exists()
    assert (tmp_path / "history.png").exists()

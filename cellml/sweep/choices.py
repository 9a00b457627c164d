"""What a sweep says of its choices: the trials of each backbone, strategy and listed value, over seeds and the rest."""

import numpy as np
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution

from cellml.evaluation import style
from cellml.sweep import study as studies

SHOWN = 40  # rows of the figure, at most
SCORES = {"n": "count", "mean": "mean", "sd": "std", "min": "min", "max": "max"}


def table(study: optuna.Study) -> pd.DataFrame:
    """Scores of the complete trials by what was chosen from lists; numeric ranges are averaged over.

    Returns:
        A row a combination, best mean first, with a column for each parameter that takes several values ("" where it is
        not the backbone's), then `n`, `mean`, `sd` (of a sample, NaN of one), `min` and `max` of the trials' values. No
        rows where nothing was chosen.
    """
    trials = _trials(study)
    names = list(trials.columns[:-1])
    if not names:
        return pd.DataFrame(columns=list(SCORES))
    scored = trials.groupby(names, sort=False)["value"].agg(list(SCORES.values())).set_axis(list(SCORES), axis=1)
    ascending = study.direction == optuna.study.StudyDirection.MINIMIZE
    return scored.reset_index().sort_values("mean", ascending=ascending, kind="stable", ignore_index=True)


@style.styled
def figure(study: optuna.Study, metric: str) -> Figure:
    """Every trial as a dot and each combination's mean as a bar, for the first `SHOWN` rows of `table`."""
    trials, scored = _trials(study), table(study).head(SHOWN)
    names = [name for name in scored if name not in SCORES]
    values = dict(list(trials.groupby(names)["value"])) if names else {}
    drawn = style.figure(height=1.2 + 0.26 * len(scored))
    axes = drawn.add_subplot()
    for place, (key, mean) in enumerate(zip(scored[names].itertuples(index=False), scored["mean"], strict=True)):
        dots = values[tuple(key)]
        axes.plot(dots, [place] * len(dots), "o", color=style.COLOURS[0], alpha=0.6, markersize=4)
        axes.plot([mean, mean], [place - 0.3, place + 0.3], color=style.COLOURS[1])
    labels = (" ".join(filter(None, row)) for row in scored[names].itertuples(index=False))
    axes.set_yticks(range(len(scored)), style.names(labels, limit=48))
    axes.invert_yaxis()
    axes.set_xlabel(f"validation {metric.replace('_', ' ')}: each trial, and the mean")
    style.grid(axes)
    return drawn


def _trials(study: optuna.Study) -> pd.DataFrame:
    """A row a complete trial: the listed parameters that differ among them, as text, and `value`."""
    trials = studies.complete(study)
    rows = [
        {n: str(v) for n, v in t.params.items() if isinstance(t.distributions[n], CategoricalDistribution)}
        for t in trials
    ]
    chosen = pd.DataFrame(rows).fillna("")
    varied = [name for name in chosen if chosen[name].nunique() > 1]
    return chosen[varied].assign(value=np.array([trial.value for trial in trials], dtype=np.float64))

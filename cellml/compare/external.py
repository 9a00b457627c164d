"""External test sets in the benchmark: a table each, columns of the main one, average ranks over all sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cellml.compare import scores
from cellml.compare.collect import Evaluated
from cellml.config import Compare
from cellml.data.external import External
from cellml.evaluation import friedman, metrics

SHOWN = ("n", "accuracy", "f1", "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "auroc")


@dataclass(frozen=True)
class Ranks:
    """Average ranks of models over test sets.

    Attributes:
        sets: names of the N sets, the experiment's own ("") first.
        average: (k,) of each model, in the table's order.
        difference: the critical one, at 5 %.
        test: whether any model differs from another.
    """

    sets: tuple[str, ...]
    average: np.ndarray
    difference: float
    test: friedman.Friedman


def table(
    external: External, ranking: Sequence[Evaluated], train_counts: Mapping[str, int], settings: Compare
) -> pd.DataFrame:
    """Scores of all models on one external set.

    Args:
        external: the set.
        ranking: M models, best first on the experiment's own test rows.
        train_counts: class name -> training rows, for the baseline.
        settings: as of `table.build`.

    Returns:
        M + 1 rows in that order, the baseline last: `n`, what `scores.table` gives, and `digest`.
    """
    predictions = scores.with_baseline([one.external[external.name] for one in ranking], train_counts)
    found = scores.table(predictions, external.manifest, settings)
    found.insert(0, "n", len(external.manifest))
    found["digest"] = external.manifest.digest
    return found


def columns(name: str, found: pd.DataFrame, rarest: str) -> pd.DataFrame:
    """What the main table shows of an external set, under the names `<set>_<column>`.

    Args:
        name: of the set.
        found: of `table`.
        rarest: the class whose recall is shown.
    """
    return found[[*SHOWN, f"recall_{rarest}", "digest"]].add_prefix(f"{name}_")


def ranks(
    own: np.ndarray, externals: Sequence[External], ranking: Sequence[Evaluated], settings: Compare
) -> Ranks | None:
    """Average ranks of models over their own test set and the external ones, by the ranking metric.

    Args:
        own: (k,) scores on the own test set.
        externals: the other sets; one that leaves the metric of a model undefined does not count.
        ranking: the k models.
        settings: `metric` ranks.

    Returns:
        None with fewer than two models or two sets.
    """
    found = {"": own}
    for one in externals:
        found[one.name] = np.array([metrics.value(settings.metric, model.external[one.name]) for model in ranking])
    found = {name: scores for name, scores in found.items() if np.isfinite(scores).all()}
    if len(found) < 2 or len(ranking) < 2:
        return None
    placed = friedman.ranks(np.stack(list(found.values())), metrics.higher_is_better(settings.metric))
    average = placed.mean(axis=0)
    difference = friedman.critical_difference(len(ranking), len(found))
    return Ranks(tuple(found), average, difference, friedman.test(average, len(found)))

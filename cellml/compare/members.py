"""The networks that an ensemble is made of, each alone on the test sets: what a single training gives."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from cellml.compare.scores import FIGURES, METRICS
from cellml.data.external import External
from cellml.data.manifest import Manifest
from cellml.data.prepare import Dataset
from cellml.evaluation import metrics
from cellml.evaluation.predictions import Predictions
from cellml.models.classifier import Classifier
from cellml.models.ensemble import Ensemble
from cellml.training.predict import predict

OWN = ""  # the experiment's own test set, among the names of sets


def predictions(
    model: Classifier | Ensemble | None,
    dataset: Dataset,
    test: Manifest,
    externals: Sequence[External],
    device: str = "auto",
) -> dict[str, list[Predictions]]:
    """What each network of an ensemble says, by test set; empty for a single network, or one of other classes.

    Args:
        model: rebuilt from its weights, or None.
        dataset: whose pixels the test rows point into.
        test: the experiment's own test rows, named `OWN`.
        externals: further test sets, with the same classes.
        device: to compute on.
    """
    if not isinstance(model, Ensemble) or model.spec.classes != test.classes:
        return {}
    sets = {OWN: (dataset, test)}
    sets |= {one.name: (replace(dataset, pixels=one.pixels), one.manifest) for one in externals}
    return {
        name: [predict(member, data, rows, device=device) for member, _ in model.weighted()]
        for name, (data, rows) in sets.items()
    }


def table(known: Mapping[tuple[str, str], Mapping[str, Sequence[Predictions]]]) -> pd.DataFrame:
    """Mean and standard deviation over the networks of each ensemble.

    Args:
        known: (model, version) -> test set -> predictions of each network.

    Returns:
        A row an ensemble and test set: `model`, `version`, `set` (`OWN` or an external set's name), `n` networks and,
        of `scores.FIGURES`, the mean and `<figure>_sd` (of a sample).
    """
    rows = []
    for (model, version), sets in known.items():
        for name, said in sets.items():
            scored = pd.DataFrame([metrics.compute(one) for one in said])
            row: dict[str, object] = {"model": model, "version": version, "set": name, "n": len(said)}
            for figure in FIGURES:
                values = scored[METRICS[figure]]
                row |= {figure: float(values.mean()), f"{figure}_sd": float(values.std(ddof=1))}
            rows.append(row)
    return pd.DataFrame(rows)

"""How well models tell two controls apart: Z' of their test rows, beside the scores of classes."""

from collections.abc import Sequence

import pandas as pd

from cellml.config import Screen as Settings
from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.evaluation import controls, metrics
from cellml.evaluation.predictions import Predictions
from cellml.evaluation.screens import Screen
from cellml.screening import scores

COLUMNS = ("z_prime", "z_prime_low", "z_prime_high", "robust_z_prime")


def named(test: Manifest, settings: Settings) -> bool:
    """Whether both controls are named, and are classes of the test rows."""
    return bool(settings.negative and settings.positive) and not absent(test, settings)


def absent(test: Manifest, settings: Settings) -> list[str]:
    """Named controls that are no class of the test rows.

    Raises:
        UserError: both controls are the same.
    """
    given = [name for name in (settings.negative, settings.positive) if name]
    if len(given) > len(set(given)):
        raise UserError(f"Expected two controls, got {given[0]!r} as both; correct screen.negative or screen.positive")
    return [name for name in given if not test.counts.get(name)]


def columns(predictions: Sequence[Predictions], settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    """Z' of single cells by log p(positive) - log p(negative), with intervals over groups.

    Args:
        predictions: M of the same rows.
        settings: `negative` and `positive` are classes with rows; `resamples` and `seed` make the intervals.

    Returns:
        M rows of `COLUMNS`, NaN where undefined, and for each row why ("" where it is defined).
    """
    found, reasons = [], []
    for one in predictions:
        said = controls.table(screen(one, settings))
        cells = {row["statistic"]: row for row in said.to_dict("records") if row["level"] == "cells"}
        z, robust = cells["z_prime"], cells["robust_z_prime"]
        found.append(dict(zip(COLUMNS, (z["value"], z["low"], z["high"], robust["value"]), strict=True)))
        reasons.append(str(z["note"]) if z["value"] is None else "")
    return pd.DataFrame(found, columns=list(COLUMNS), dtype=float), reasons


def screen(predictions: Predictions, settings: Settings) -> Screen:
    """The controls' cells as a screen: groups are wells, or plates where a group holds both controls."""
    ends = (settings.negative, settings.positive)
    known = metrics.scorable(predictions)
    table = pd.DataFrame(
        {
            "id": known.ids,
            "group": known.groups.astype(str),
            "treatment": [known.classes[target] for target in known.targets],
            "score": scores.of_probabilities("logit", known.probabilities, known.classes, *ends),
        }
    )
    table = table[table["treatment"].isin(ends)]
    shared = table.groupby("group")["treatment"].nunique().max() > 1
    table["plate"] = table["group"] if shared else ""
    table["well"] = table["treatment"] if shared else table["group"]
    return Screen(table, *ends, "plates" if shared else "wells", settings.resamples, settings.seed)

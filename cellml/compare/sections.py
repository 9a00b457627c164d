"""The sections of the benchmark's page on external test sets: a table each, and the ranks over all sets."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cellml.compare import formats, words
from cellml.compare.collect import Evaluated
from cellml.compare.picture import Picture
from cellml.data.external import External

HEADS = ("auroc", "f1", "mcc", "accuracy", "precision", "precision_weighted", "recall_weighted", "f1_weighted", "loss")


def of_externals(
    table: pd.DataFrame, ranking: Sequence[Evaluated], externals: Sequence[External], pictures: Sequence[Picture]
) -> list[dict[str, Any]]:
    """Name, facts, table and confusion matrix of each external set.

    Args:
        table: what `table.build` made.
        ranking: the models, best first on the experiment's own test rows.
        externals: the sets.
        pictures: among them the confusion matrix of the first model on each set.
    """
    records = table.to_dict("records")
    shown = {picture.name: picture for picture in pictures if picture.kind == "external"}
    found = []
    for external in externals:
        scored = table.attrs["externals"][external.name]
        classes = [name for name, count in external.manifest.counts.items() if count]
        rows = [
            [
                formats.label(row),
                str(row["strategy"]),
                formats.interval(score),
                *(formats.number(score[key]) for key in HEADS),
                *(formats.number(score[f"recall_{name}"]) for name in classes),
            ]
            for row, score in zip(records, scored, strict=True)
        ]
        head = ["model", "strategy", "balanced accuracy [95 %]", *(words.HEADS[key] for key in HEADS)]
        found.append(
            {
                "name": external.name,
                "lines": list(external.lines()),
                "head": [*head, *(f"recall {name}" for name in classes)],
                "rows": rows,
                "best": ranking[0].name,
                "confusion": shown.get(external.name),
            }
        )
    return found


def of_ranks(table: pd.DataFrame) -> str:
    """What the figure of average ranks over data sets says, and what it cannot; "" where there is none."""
    sets = table.attrs["sets"]
    if sets is None:
        return ""
    names = ", ".join(name or "the experiment's own test set" for name in sets.sets)
    few = len(sets.sets)
    return (
        f"Average rank of {len(sets.average)} models over {few} data sets ({names}) by "
        f"{words.spoken(table.attrs['metric'])}, with the critical difference at 5 % (Nemenyi), "
        f"{formats.number(sets.difference, 2)}: models under one bar cannot be told apart (Demsar 2006). Friedman's "
        f"test that all are alike: chi2 {formats.number(sets.test.chi2, 2)}, p {formats.significance(sets.test.p_chi2)}"
        + (f"; F {formats.number(sets.test.f, 2)}, p {formats.significance(sets.test.p_f)}" if few > 2 else "")
        + f". {few} data sets {'are' if few < 6 else 'may be'} few: the test has little power, and a difference that "
        "it does not find may well be there."
    )


def csv(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """An external set's scores as a table of their own: what names the models, the rank there, scores."""
    found = pd.DataFrame(table.attrs["externals"][name])
    for place, key in enumerate(("model", "version", "backbone", "strategy", "settings")):
        found.insert(place, key, table[key].to_numpy())
    return found

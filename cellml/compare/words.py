"""The words of the benchmark's HTML page: its lead, facts, warnings and notes."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from cellml.compare import formats
from cellml.compare.collect import Evaluated
from cellml.config import Compare
from cellml.data.manifest import Manifest
from cellml.evaluation.comparisons import TOLD

FEW_GROUPS = 10  # fewer groups than this make a bootstrap interval too narrow
HEADS = {
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "f1": "F1",
    "mcc": "MCC",
    "accuracy": "accuracy",
    "precision": "precision",
    "precision_weighted": "weighted precision",
    "recall_weighted": "weighted recall",
    "f1_weighted": "weighted F1",
    "loss": "log-loss",
}
COSTS = {
    "params_m": "params (M)",
    "gmacs": "GMACs",
    "ms_batch_1": "ms, batch 1",
    "ms_batch_64": "ms/image, batch 64",
    "mb_batch_1": "MB, batch 1",
    "mb_batch_64": "MB, batch 64",
}


class Fact(NamedTuple):
    """A term and its value at the page's top."""

    name: str
    value: str
    detail: str = ""
    code: bool = False


def lead(records: list[dict[str, Any]], settings: Compare) -> str:
    """The sentence under the title: who is best, and who cannot be told from it."""
    ranked = [row for row in records if formats.rank(row)]
    text = f"{formats.label(ranked[0])} has the best {spoken(settings.metric)}"
    text += "" if settings.metric == "balanced_accuracy" else " and a balanced accuracy of"
    text += (
        f", {formats.interval(ranked[0])}"
        if settings.metric == "balanced_accuracy"
        else f" {formats.interval(ranked[0])}"
    )
    text += f"; always answering the commonest class gives {formats.number(records[-1]['balanced_accuracy'])}."
    others = [row["p_holm"] for row in ranked[1:]]
    alike = sum(not p < TOLD for p in others)
    if others:
        rest = "The other model" if len(others) == 1 else f"{alike or 'All'} of the {len(others)} other models"
        text += f" {rest} {'cannot' if alike else 'can'} be told from it at p < {TOLD} after Holm's correction."
    return text


def facts(test: Manifest, settings: Compare, ranking: Sequence[Evaluated]) -> list[Fact]:
    """What the page opens with: images, classes, groups, models, digest."""
    groups = len(set(test.groups))
    grouped, mixed = groups < len(test), int(test.mixed.sum())
    return [
        Fact(
            f"Test {test.unit}s",
            f"{len(test):,}",
            f"{mixed:,} of mixtures, of no known class" if mixed else "for every model",
        ),
        Fact("Classes", str(len(test.classes))),
        Fact("Groups", f"{groups:,}" if grouped else "none", "never split" if grouped else "each image by itself"),
        Fact("Models", str(len(ranking))),
        Fact("Ranked by", spoken(settings.metric)),
        Fact("Digest of the test rows", test.digest, code=True),
    ]


def warnings(table: pd.DataFrame, ranking: Sequence[Evaluated], test: Manifest) -> Iterator[str]:
    """What a reader must know before believing the table."""
    for letter, group in formats.twins(table).items():
        yield (
            f"({letter}) Identical predictions: {', '.join(group)}. One model under several names, or models that "
            "ignore their input?"
        )
    for row in table.to_dict("records"):
        only = formats.constant(row, table)
        if formats.rank(row) and only is not None:
            yield f"{formats.label(row)} gives every test image to {only}, as the baseline does to the commonest class."
    for name, why in table.attrs["undefined"].items():
        yield f"{name}: Z' is {why}."
    said: dict[str, list[str]] = {}
    for one in ranking:
        for warning in one.warnings:
            said.setdefault(warning, []).append(one.name)
    for warning, names in said.items():
        yield f"{'All models' if len(names) == len(ranking) > 1 else ', '.join(names)}: {warning}."
    empty = [name for name, count in test.counts.items() if not count]
    if empty:
        yield f"No test image of class {', '.join(empty)}: its recall is unknown, and the means leave it out."
    groups = len(set(test.groups))
    if groups < FEW_GROUPS:
        yield f"Only {groups} groups among the test {test.unit}s: the intervals are too narrow, and p too small."


def notes(settings: Compare, test: Manifest, table: pd.DataFrame, device: str = "") -> list[str]:
    """How the figures were made, a sentence or two each."""
    grouped = len(set(test.groups)) < len(test)
    unit = "groups, each drawn whole," if grouped else "images"
    return [
        "Every model is the registered one, loaded from the registry and run anew on the pinned test rows; nothing is "
        "copied from training runs. Which version stands for a model was chosen on validation rows.",
        f"Intervals are 95 % percentile intervals of a bootstrap over {unit} ({settings.resamples:,} resamples, seed "
        f"{settings.seed}).",
        f"p vs best is the two-sided bootstrap p of the difference in {spoken(settings.metric)} to the first row: "
        "paired, both models being scored on the same resamples. p Holm is the same corrected for the number of models "
        f"(Holm 1979); from {TOLD} on a model is marked ~: it cannot be told from the best. Neither knows that the "
        "best row was picked on these same images, so small differences deserve distrust.",
        "P(best) is the share of the same resamples in which a model comes first, expected rank its mean place; models "
        "that tie share their places. They say what would happen on other groups like these, not on another data set.",
        "DeLong's p is of the difference in AUROC to the first row (two classes), McNemar's of that in accuracy: both "
        "take every image for independent, and are too small where images of a group are alike. They stand here for "
        "comparison with papers.",
        "Precision, F1 and AUROC (one class against the rest) are means over the classes with equal weight; the mean "
        "recall is the balanced accuracy. Weighted ones weigh a class by its images, as published tables often do, so "
        "that the commonest class outweighs the rare one; weighted recall is the accuracy.",
        "Columns at thresholds score the class that a model's operating thresholds say, which its validation rows set "
        "for balanced accuracy; all others score the most probable class.",
        "The last row is a baseline that always answers the commonest class; a model that does not beat it has learned "
        "nothing. The dashed line in the bar plot is its balanced accuracy.",
        *([f"{said} Intervals as above."] if (said := formats.controls(table)) else []),
        "Models marked identical, with the same letter, gave the same probabilities to six decimals on every image.",
        f"Costs were measured in this run on {device or 'this machine'}, test-time views and members of an ensemble "
        "counted; they hold within this table only, and other work on the machine shows in them. GMACs: billions of "
        "multiply-accumulates an image, half the floating point operations of its matrix products and convolutions. "
        "ms: median of 20 calls after a warm-up, on images in memory, of one image and, an image, of 64 (fewer calls "
        "where they take more than 10 s). MB (10^6 bytes): weights and the tensors alive at once; on a CPU without the "
        "work space of single operations.",
    ]


def spoken(metric: str) -> str:
    """A metric's name in running text."""
    return HEADS.get(metric, metric.replace("_", " "))


def alone(row: Mapping[Hashable, Any]) -> str:
    """A row of `members.table` as a line for the terminal."""
    where = f" on {row['set']}" if row["set"] else ""
    figures = ", ".join(
        f"{spoken(key)} {row[key]:.3f} +- {row[f'{key}_sd']:.3f}" for key in ("balanced_accuracy", "auroc")
    )
    return f"{row['model']} v{row['version']}: its {row['n']} networks alone{where}: {figures}"

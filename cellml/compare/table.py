"""The benchmark table: one row a model, ranked, with intervals and paired p-values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from cellml.compare import against, controls, cost, external, scores
from cellml.compare.collect import Evaluated
from cellml.compare.formats import MAJORITY
from cellml.config import Compare, Screen
from cellml.data.external import External
from cellml.data.manifest import Manifest
from cellml.errors import UserError
from cellml.evaluation import confusion, experts, intervals, metrics, thresholds
from cellml.evaluation.predictions import Predictions

COLUMNS = (
    "rank",
    "model",
    "version",
    "backbone",
    "strategy",
    "settings",
    *cost.COLUMNS,
    "n",
    "accuracy",
    "loss",
    "precision",
    "recall",
    "f1",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "balanced_accuracy",
    "balanced_accuracy_low",
    "balanced_accuracy_high",
    "auroc",
    "mcc",
    *against.COLUMNS,
    "test_digest",
    "run_id",
)
SAME = 1e-6  # probabilities closer than this on every image are the same predictions


def build(
    evaluated: Sequence[Evaluated],
    test: Manifest,
    train_counts: Mapping[str, int],
    settings: Compare,
    explained: Mapping[str, Mapping[str, float]] | None = None,
    externals: Sequence[External] = (),
    screen: Screen | None = None,
) -> pd.DataFrame:
    """Rank models on one test set; the last row is the baseline that knows only the training rows' frequencies.

    Args:
        evaluated: M >= 1 models with predictions of the same test rows.
        test: those rows.
        train_counts: class name -> training rows, before any resampling.
        settings: `metric` ranks; `resamples` and `seed` make the intervals.
        explained: `Evaluated.name` -> scores of its heatmaps, by column.
        externals: further test sets, which every model predicted.
        screen: whose controls Z' is of.

    Returns:
        M + 1 rows with `COLUMNS`, `recall_<class>` for every class, `identical_to`, the ranking metric where it is not
        among them, `accuracy_thresholded`, `f1_thresholded`, `balanced_accuracy_thresholded` and, of the rarest class,
        `recall_<class>_thresholded`, which score the classes that the models' operating thresholds say instead of the
        most probable ones (missing for a model without), where the test rows have soft labels `rmse` and
        `composition_rmse`, the columns of `explained`, where both controls are classes of the test rows
        `controls.COLUMNS`, and those of `external.columns` for each set.
        `balanced_accuracy_low` and `_high` are the 95 % interval over resampled groups; `against.columns` says what
        `against.COLUMNS` mean. Models with the same score share a rank; the baseline's is missing. `identical_to`
        names the entries with the same probabilities, by model and version, joined by ", ". `attrs` holds "metric",
        "classes", "rarest", the test rows' rarest class, "explained", the columns of `explained`, "ranks", the models'
        rank probabilities, "experts", how well experts agree where the test rows keep their votes
        (`experts.Agreement`), "externals", name -> the rows of `external.table`, and "sets", the `external.Ranks`
        over all sets, "unit", what a test row is called, "grouped", whether groups hold several, and "controls", the
        positive and the negative one, or None, and "undefined", `Evaluated.name` -> why it has no Z'.

    Raises:
        UserError: no such metric, models that did not predict the same rows, or an external set whose name makes a
            column that is there already.
    """
    metrics.check(settings.metric, test.classes, test.sequences is not None)
    ranking = ordered(evaluated, settings)
    predictions = scores.with_baseline([one.predictions for one in ranking], train_counts)
    balanced = intervals.paired(predictions, "balanced_accuracy", settings.resamples, settings.seed)
    samples = balanced
    if settings.metric != "balanced_accuracy":
        samples = intervals.paired(predictions, settings.metric, settings.resamples, settings.seed)
    scored = scores.table(predictions, test, settings, balanced)
    points = np.array([metrics.value(settings.metric, one) for one in predictions])
    compared = against.columns(ranking, samples, points, settings.metric)
    same = _identical(ranking)
    digest = test.digest
    explained = explained or {}
    maps = list(dict.fromkeys(name for scored in explained.values() for name in scored))
    rows = []
    for m, score in enumerate(scored.to_dict("records")):
        row = _described(ranking[m], same[m]) if m < len(ranking) else _baseline()
        row |= {"n": len(test), "test_digest": digest, **{name: compared[name][m] for name in against.COLUMNS}}
        row |= {str(name): value for name, value in score.items()}
        row |= dict.fromkeys(maps, np.nan) | dict(explained.get(ranking[m].name, {}) if m < len(ranking) else {})
        rows.append(row)
    present = {name: count for name, count in test.counts.items() if count}
    rarest = min(present, key=lambda name: present[name])
    operating = [_thresholded(one, rarest) for one in ranking]
    operating.append(dict.fromkeys(operating[0], np.nan))
    rows = [further | row for further, row in zip(operating, rows, strict=True)]
    columns = [*COLUMNS, *(f"recall_{name}" for name in test.classes), "identical_to"]
    columns += [settings.metric] if settings.metric in rows[0] and settings.metric not in columns else []
    table = pd.DataFrame(rows)
    table["rank"] = pd.array([*_ranks(points[:-1]), None], dtype="Int64")
    table = table[[*columns, *(c for c in table.columns if c not in columns)]]
    undefined: dict[str, str] = {}
    if screen is not None and controls.named(test, screen):
        found, reasons = controls.columns(predictions, screen)
        table = pd.concat([table, found], axis=1)
        undefined = {one.name: why for one, why in zip(ranking, reasons, strict=False) if why}
    elsewhere = {one.name: external.table(one, ranking, train_counts, settings) for one in externals}
    for name, scored_there in elsewhere.items():
        further = external.columns(name, scored_there, rarest)
        if taken := [key for key in further if key in table]:
            raise UserError(
                f"Expected names of external sets that make new columns, got {name!r}, which makes {taken[0]!r} again; "
                "rename it in compare.external"
            )
        table = pd.concat([table, further], axis=1)
    table.attrs = {
        "metric": settings.metric,
        "classes": list(test.classes),
        "rarest": rarest,
        "explained": maps,
        "ranks": compared.attrs["ranks"],
        "experts": experts.agreement(test.votes, test.classes, test.groups, settings.resamples, settings.seed),
        "unit": test.unit,
        "grouped": len(set(test.groups)) < len(test),
        "controls": (screen.positive, screen.negative) if screen is not None and "z_prime" in table else None,
        "undefined": undefined,
        "externals": {name: scored_there.to_dict("records") for name, scored_there in elsewhere.items()},
        "sets": external.ranks(points[:-1], externals, ranking, settings),
    }
    return table


def ordered(evaluated: Sequence[Evaluated], settings: Compare) -> list[Evaluated]:
    """Models best first by the ranking metric; then by log-loss, then by name; undefined scores last."""
    sign = -1 if metrics.higher_is_better(settings.metric) else 1

    def key(one: Evaluated) -> tuple[float, float, str]:
        score = sign * metrics.value(settings.metric, one.predictions)
        return (score if np.isfinite(score) else np.inf, metrics.value("log_loss", one.predictions), one.name)

    return sorted(evaluated, key=key)


def _described(one: Evaluated, same: list[str]) -> dict[str, object]:
    entry = one.entry
    return {
        "model": entry.name,
        "version": str(entry.version),
        "backbone": entry.backbone,
        "strategy": entry.strategy,
        "settings": one.settings,
        **asdict(one.cost),
        "run_id": entry.run_id,
        "identical_to": ", ".join(same),
    }


def _thresholded(one: Evaluated, rarest: str) -> dict[str, float]:
    """Scores at a model's operating thresholds, NaN where it has none."""
    known = metrics.scorable(one.predictions)
    said = thresholds.predicted(known, one.thresholds)
    counts = confusion.matrix(known.targets, said, len(known.classes))
    recall = confusion.recall(counts)
    scores = {
        "accuracy_thresholded": confusion.accuracy(counts),
        "f1_thresholded": confusion.macro(confusion.f1(counts)),
        "balanced_accuracy_thresholded": confusion.macro(recall),
        f"recall_{rarest}_thresholded": recall[known.classes.index(rarest)],
    }
    return {name: float(score) if one.thresholds else np.nan for name, score in scores.items()}


def _baseline() -> dict[str, object]:
    words = dict.fromkeys(("version", "backbone", "strategy", "settings", "run_id", "identical_to"), "")
    return {"model": MAJORITY, **asdict(cost.Cost()), **words}


def _ranks(points: np.ndarray) -> list[int]:
    """1, 2, 2, 4 of points sorted best first."""
    same = np.append(False, points[1:] == points[:-1])
    return [int(place) for place in np.maximum.accumulate(np.where(same, 0, np.arange(len(points)))) + 1]


def _identical(ranking: Sequence[Evaluated]) -> list[list[str]]:
    def agree(a: Predictions, b: Predictions) -> bool:
        return bool(np.array_equal(a.ids, b.ids) and np.allclose(a.probabilities, b.probabilities, rtol=0, atol=SAME))

    return [
        [other.name for other in ranking if other is not one and agree(one.predictions, other.predictions)]
        for one in ranking
    ]

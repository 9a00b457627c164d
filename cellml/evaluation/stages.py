"""Tables of sequences' stages: how long they last, and when one steps to the next, in truth and by prediction."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.evaluation import segments
from cellml.evaluation.predictions import Predictions

OF = ("true", "predicted")
DURATIONS = ("sequence", "group", "of", "stage", "start", "frames", "cut")
SUMMARY = ("stage", "of", "segments", "cut", "mean", "sd", "p10", "median", "p90")
TRANSITIONS = ("from", "to", "true", "predicted", "found", "missed", "spurious", "error", "bias")


def durations(predictions: Predictions) -> pd.DataFrame:
    """Every segment of the sequences that can be scored, in truth and by prediction.

    Args:
        predictions: N frames of sequences.

    Returns:
        rows with `DURATIONS`: `of` is one of `OF`, `start` a frame of its sequence, `frames` how long the segment is,
        `cut` whether it touches an end of what is known of the sequence, so that the stage lasted as long or longer.

    Raises:
        UserError: the rows are no frames of sequences.
    """
    said, records = predictions.predicted, []
    frames = predictions.frames
    for name, rows in segments.scorable(predictions).items():
        assert frames is not None
        for of, labels in zip(OF, (predictions.targets[rows], said[rows]), strict=True):
            for stage, start, stop in zip(*segments.runs(labels), strict=True):
                cut = start == 0 or stop == len(rows)
                at = int(frames[rows[start]])
                group = predictions.groups[rows[0]]
                records.append((name, group, of, predictions.classes[stage], at, int(stop - start), bool(cut)))
    return pd.DataFrame(records, columns=list(DURATIONS))


def summary(table: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """How long each stage lasts, in frames, of the segments that no end cuts.

    Args:
        table: of `durations`.
        classes: K names.

    Returns:
        two rows a class with `SUMMARY`: `segments` that are whole and `cut` ones, then mean, standard deviation (of a
        sample), 10th percentile, median and 90th percentile of the whole ones, NaN without any.
    """
    records = []
    for stage in classes:
        for of in OF:
            mine = table[(table["stage"] == stage) & (table["of"] == of)]
            whole = mine.loc[~mine["cut"].astype(bool), "frames"]
            spread = whole.quantile([0.1, 0.5, 0.9]).tolist()
            records.append((stage, of, len(whole), len(mine) - len(whole), whole.mean(), whole.std(), *spread))
    return pd.DataFrame(records, columns=list(SUMMARY))


def transitions(predictions: Predictions) -> pd.DataFrame:
    """How well the steps from stage to stage are placed in time, a row for each kind that there is.

    Args:
        predictions: N frames of sequences.

    Returns:
        rows with `TRANSITIONS`, the truth's most frequent first: how many steps there are in truth and by prediction,
        how many match (see `segments`), are missed and spurious; of the matched ones the mean distance in frames
        (`error`) and the mean of predicted minus true frame (`bias`), NaN without any.

    Raises:
        UserError: the rows are no frames of sequences.
    """
    said = predictions.predicted
    away: dict[tuple[int, int], list[npt.NDArray]] = {}
    counts: dict[tuple[int, int], npt.NDArray] = {}
    none = np.empty(0, np.int64)
    for rows in segments.scorable(predictions).values():
        true, predicted = segments.steps(predictions.targets[rows]), segments.steps(said[rows])
        for kind in {**true, **predicted}:
            wanted, given = true.get(kind, none), predicted.get(kind, none)
            mine, own = segments.matched(given, wanted)
            away.setdefault(kind, []).append(given[mine] - wanted[own])
            counts[kind] = counts.get(kind, np.zeros(2, np.int64)) + np.array([len(wanted), len(given)])
    records = []
    for kind in sorted(counts, key=lambda kind: (-counts[kind][0], -counts[kind][1], kind)):
        a, b = (predictions.classes[stage] for stage in kind)
        off, (wanted, given) = np.concatenate(away[kind]), counts[kind].tolist()
        error, bias = (np.abs(off).mean(), off.mean()) if len(off) else (np.nan, np.nan)
        records.append((a, b, wanted, given, len(off), wanted - len(off), given - len(off), error, bias))
    return pd.DataFrame(records, columns=list(TRANSITIONS))

"""Treatments of a screen: how far from the negative control, how many cells look like it, and what can be told."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cellml.evaluation import intervals, permutation, screening
from cellml.evaluation.screens import Screen

Array = npt.NDArray[np.float64]
FIGURES = ("distance", "like_negative", "ssmd")


def table(screen: Screen, against: str = "positive") -> pd.DataFrame:
    """All treatments, those nearest to the negative control first, behind them the controls.

    Args:
        screen: cells and controls.
        against: the control that treatments are tested against, "positive" (it was treated) or "negative".

    Returns:
        A row a treatment: `treatment`, `plates`, `wells`, `cells`;
        `distance`: mean of its wells' values, 0 that of the negative control and 1 that of the positive one;
        `like_negative`: share of cells nearer to the median of the negative control than to that of the positive one;
        `ssmd`: of its cells against those of the control `against`; each with its 95 % interval `_low`, `_high`;
        `p` of `permutation.compared` of its wells against that control's, `p_least` the least that so few can give,
        `q` by Benjamini and Hochberg 1995 (J. R. Stat. Soc. B 57:289) over the treatments beyond the controls; `note`.
        What is missing is None, and `note` says why.
    """
    control = screen.positive if against == "positive" else screen.negative
    values = {name: _Values(screen, name, control) for name in [*screen.treatments, screen.negative, screen.positive]}
    ones = np.ones((len(screen.wells), 1))
    points = {name: one.figures(ones)[:, 0] for name, one in values.items()}
    parts: dict[str, list[Array]] = {name: [] for name in values}
    for drawn in screen.draws():
        for name, one in values.items():
            parts[name].append(one.figures(drawn))
    records = []
    for name, point in points.items():
        few = screen.too_few(name, screen.negative, screen.positive)
        wells = screen.wells.iloc[screen.rows(name)]
        record: dict[str, object] = {"treatment": name, "plates": wells["plate"].nunique(), "wells": len(wells)}
        record["cells"], notes = int(wells["cells"].sum()), [few]
        for key, value, samples in zip(FIGURES, point, np.concatenate(parts[name], axis=1), strict=True):
            found = intervals.interval(samples)
            fixed = key == "distance" and name not in screen.treatments  # by definition
            known = not few and not fixed and np.isfinite([value, found.low]).all()
            record[key] = _number(value)
            record[f"{key}_low"], record[f"{key}_high"] = (found.low, found.high) if known else (None, None)
        if name in screen.treatments:
            tested = _tested(screen, name, control)
            record |= {"p": tested.p, "p_least": tested.least}
            notes.append(f"no p: no plate has wells of both {name} and {control}" if tested.p is None else "")
        missing = [key for key in FIGURES if record[key] is None and not (key == "ssmd" and name == control)]
        notes.append(f"undefined: {', '.join(missing)} (scores that do not differ or vary)" if missing else "")
        records.append({**record, "note": "; ".join(filter(None, notes))})
    made = pd.DataFrame(records, dtype=object)
    for column in ("p", "p_least"):
        made[column] = _none(made[column].tolist() if column in made else [None] * len(made))
    made["q"] = _none(false_discovery(made["p"].tolist()))
    made["beyond"] = [name in screen.treatments for name in made["treatment"]]
    made = made.sort_values(["beyond", "distance"], ascending=[False, True], kind="stable")
    order = ["treatment", "plates", "wells", "cells"]
    order += [f"{key}{end}" for key in FIGURES for end in ("", "_low", "_high")]
    return made[[*order, "p", "p_least", "q", "note"]].reset_index(drop=True)


def false_discovery(p: Iterable[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's q of those of (M,) p-values that are there, None of the others."""
    given = [None if value is None or not np.isfinite(value) else float(value) for value in p]
    known = [value for value in given if value is not None]
    found = iter(stats.false_discovery_control(known).tolist() if known else [])
    return [None if value is None else next(found) for value in given]


class _Values:
    """What the figures of one treatment are made of, for any number of resamples."""

    def __init__(self, screen: Screen, name: str, control: str) -> None:
        wells = screen.wells
        self.values = wells["value"].to_numpy(dtype=np.float64)
        self.like, self.cells = wells["like"].to_numpy(dtype=np.float64), wells["cells"].to_numpy(dtype=np.float64)
        self.own, self.control = screen.rows(name), screen.rows(control)
        self.ends = screen.rows(screen.negative), screen.rows(screen.positive)
        self.single = None if name == control else (screen.single(name), screen.single(control))

    def figures(self, drawn: Array) -> Array:
        """`FIGURES` when wells are drawn (W, R) times, (3, R); NaN where undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            own, low, high = (self._mean(rows, drawn) for rows in (self.own, *self.ends))
            distance = (own - low) / (high - low)
            like = (self.like[self.own] @ drawn[self.own]) / (self.cells[self.own] @ drawn[self.own])
        if self.single is None:
            apart = np.full(drawn.shape[1], np.nan)
        else:
            apart = screening.resampled("ssmd", *self.single, (drawn[self.own], drawn[self.control]))
        return np.stack([distance, like, apart])

    def _mean(self, rows: npt.NDArray[np.int64], drawn: Array) -> Array:
        return (self.values[rows] @ drawn[rows]) / drawn[rows].sum(axis=0)


def _tested(screen: Screen, name: str, control: str) -> permutation.Tested:
    wells = screen.wells[screen.wells["treatment"].isin([name, control])]
    return permutation.compared(wells["value"], wells["treatment"] == name, wells["plate"], screen.seed)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _none(values: Iterable[float | None]) -> pd.Series:
    return pd.Series([None if value is None or np.isnan(value) else value for value in values], dtype=object)

"""What tells the controls of a screen apart, with intervals: of single cells, of wells, and plate by plate."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.evaluation import intervals, permutation, screening, wellplate
from cellml.evaluation.screens import Screen
from cellml.evaluation.weighted import Cells

Array = npt.NDArray[np.float64]
COLUMNS = ("level", "statistic", "value", "low", "high", "note")


def table(screen: Screen) -> pd.DataFrame:
    """Z', robust Z', SSMD and AUROC of the controls' cells, and of their wells' medians.

    Returns:
        Eight rows: `level` ("cells", "wells"), `statistic`, `value` with its 95 % interval `low`, `high`, and `note`,
        which says why a value or an interval is missing; what is missing is None.
    """
    controls = (screen.positive, screen.negative)
    few = screen.too_few(*controls)
    records: list[tuple[object, ...]] = []
    for level in ("cells", "wells"):
        given = [screen.single(name) if level == "cells" else _medians(screen, name) for name in controls]
        for name in screening.NAMES:
            if why := screening.undefined(name, given[0].values, given[1].values, level):
                records.append((level, name, None, None, None, f"undefined: {why}"))
                continue
            value = getattr(screening, name)(given[0].values, given[1].values)
            low, high = (None, None) if few else _interval(screen, name, given)
            records.append((level, name, value, low, high, few))
    return pd.DataFrame(records, columns=list(COLUMNS), dtype=object)


def plates(screen: Screen) -> pd.DataFrame:
    """How plates differ: batch effects.

    Returns:
        A row a plate: `plate`, `wells`, `cells`, `shift` (mean difference of its wells from their treatment's mean, in
        units of the distance of the controls), `z_prime` and `robust_z_prime` of its own controls' cells, and `note`,
        which says why one is missing.
    """
    deviations, records = residuals(screen), list[dict[str, object]]()
    for plate, wells in screen.wells.groupby("plate", sort=True):
        here = screen.cells[screen.cells["plate"] == plate]
        positive, negative = (
            here["score"][here["treatment"] == name].to_numpy(dtype=np.float64)
            for name in (screen.positive, screen.negative)
        )
        record: dict[str, object] = {"plate": plate, "wells": len(wells), "cells": len(here)}
        shift = float(deviations[wells.index].mean())
        record["shift"] = shift if np.isfinite(shift) else None
        notes = [] if np.isfinite(shift) else ["no shift: the controls' wells do not differ"]
        for name in ("z_prime", "robust_z_prime"):
            why = screening.undefined(name, positive, negative)
            record[name] = None if why else getattr(screening, name)(positive, negative)
            notes += [why] if why else []
        records.append({**record, "note": "; ".join(dict.fromkeys(notes))})
    return pd.DataFrame(records, dtype=object)


def residuals(screen: Screen) -> Array:
    """Each well's value less the mean of its treatment's wells, over the distance of the controls' means, (W,)."""
    wells = screen.wells
    values = wells["value"].to_numpy(dtype=np.float64)
    means = wells.groupby("treatment")["value"].mean()
    between = abs(float(means[screen.positive] - means[screen.negative]))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (values - wells["treatment"].map(means).to_numpy(dtype=np.float64)) / between


def edge(screen: Screen) -> tuple[float, permutation.Tested] | None:
    """How much wells at the edge of their plate differ from those inside: mean difference of `residuals`, and p.

    Wells are exchanged within their plate. None where wells have no names of a plate's, or all lie on one side.
    """
    shape = wellplate.format_of(screen.wells["well"])
    if shape is None:
        return None
    outside = np.array([wellplate.at_edge(well, shape) for well in screen.wells["well"]], dtype=bool)
    found = residuals(screen)
    if outside.all() or not outside.any() or not np.isfinite(found).all():
        return None
    strata = screen.wells["plate"].to_numpy(dtype=object).astype(str)
    return float(found[outside].mean() - found[~outside].mean()), permutation.compared(
        found, outside, strata, screen.seed
    )


def _medians(screen: Screen, treatment: str) -> Cells:
    rows = screen.rows(treatment)
    values = screen.wells["value"].to_numpy(dtype=np.float64)[rows]
    return Cells(values, np.arange(len(rows)), len(rows))


def _interval(screen: Screen, name: str, given: list[Cells]) -> tuple[float | None, float | None]:
    rows = [screen.rows(control) for control in (screen.positive, screen.negative)]
    samples = [
        screening.resampled(name, given[0], given[1], (drawn[rows[0]], drawn[rows[1]])) for drawn in screen.draws()
    ]
    found = intervals.interval(np.concatenate(samples))
    return (found.low, found.high) if np.isfinite(found.low) else (None, None)

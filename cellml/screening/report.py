"""What a screen found: tables as files, a page of Markdown, lines for the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cellml.config import Screen as Settings
from cellml.data.report import many
from cellml.evaluation.permutation import Tested
from cellml.evaluation.screens import Screen

NAMES = {"z_prime": "Z'", "robust_z_prime": "robust Z'", "ssmd": "SSMD", "auroc": "AUROC"}
LEVEL = 0.05  # of q


@dataclass(frozen=True)
class Report:
    """A finished screen.

    Attributes:
        settings: what was asked for.
        model: its name.
        screen: the cells with their scores.
        controls: of `controls.table`.
        treatments: of `treatments.table`.
        plates: of `controls.plates`.
        edge: of `controls.edge`.
        notes: what a reader must know, a sentence each.
    """

    settings: Settings
    model: str
    screen: Screen
    controls: pd.DataFrame
    treatments: pd.DataFrame
    plates: pd.DataFrame
    edge: tuple[float, Tested] | None
    notes: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write the tables as CSV files and `report.md`."""
        screen = self.screen
        self.controls.to_csv(folder / "controls.csv", index=False)
        self.treatments.to_csv(folder / "treatments.csv", index=False)
        self.plates.to_csv(folder / "plates.csv", index=False)
        wells = screen.wells.assign(like_negative=screen.wells["like"] / screen.wells["cells"])
        wells.drop(columns="like").to_csv(folder / "wells.csv", index=False)
        screen.cells.assign(like_negative=screen.like).to_csv(folder / "cells.csv", index=False)
        (folder / "report.md").write_text(self.markdown(), encoding="utf-8")

    def of_controls(self, level: str, statistic: str) -> str:
        """A figure of the controls with its interval, as text: "0.62 (0.55 to 0.68)", or why there is none."""
        table = self.controls
        row = table[(table["level"] == level) & (table["statistic"] == statistic)].iloc[0]
        return interval(row["value"], row["low"], row["high"]) if row["value"] is not None else str(row["note"])

    def lines(self) -> Iterator[str]:
        """What is said on the terminal, a line a fact."""
        screen = self.screen
        wells = len(screen.wells)
        yield (
            f"{many(len(screen.cells), 'cell')} in {many(wells, 'well')} on {many(len(self.plates), 'plate')}; "
            f"{screen.positive} (1) against {screen.negative} (0) by {self.settings.score}"
        )
        for name, shown in NAMES.items():
            yield f"{shown}: cells {self.of_controls('cells', name)}; wells {self.of_controls('wells', name)}"
        yield from (line for line in (self.of_edge(),) if line)
        yield from (f"note: {note}" for note in self.notes)

    def of_edge(self) -> str:
        """How much wells at the edge differ, as a sentence; "" where that is not known."""
        if self.edge is None:
            return ""
        shift, tested = self.edge
        p = "no p, since no plate has both" if tested.p is None else f"p {tested.p:.3g}"
        return f"wells at the edge: {shift:+.2f} of the distance between the controls ({p})"

    def shown(self) -> pd.DataFrame:
        """The treatments as a reader sees them: texts, with intervals in brackets."""
        against = getattr(self.screen, self.settings.against)
        rows = []
        for row in self.treatments.to_dict("records"):
            rows.append(
                {
                    "treatment": row["treatment"],
                    "wells": str(row["wells"]),
                    "cells": str(row["cells"]),
                    "distance": _three(row, "distance"),
                    f"like {self.screen.negative}": _three(row, "like_negative"),
                    f"SSMD against {against}": _three(row, "ssmd"),
                    "p": _p(row["p"]),
                    "q": _p(row["q"]),
                    "note": row["note"],
                }
            )
        found = pd.DataFrame(rows, dtype=object)
        return found if any(found["note"]) else found.drop(columns="note")

    def markdown(self) -> str:
        """The whole as a page."""
        s, screen = self.settings, self.screen
        against = getattr(screen, s.against)
        drawn = "wells within their treatment" if s.bootstrap == "wells" else "whole plates"
        controls = self.controls.assign(
            statistic=self.controls["statistic"].map(NAMES),
            value=[interval(*v) for v in self.controls[["value", "low", "high"]].itertuples(index=False)],
        )
        plates = self.plates.assign(
            **{name: [interval(v) for v in self.plates[name]] for name in ("shift", "z_prime", "robust_z_prime")}
        )
        parts = [
            f"# Screen by {self.model}",
            f"Score: {s.score}. Positive control: {screen.positive}; negative control: {screen.negative}.",
            *(f"- {line}" for line in self.lines()),
            "## Controls",
            _table(controls[["level", "statistic", "value", "note"]]),
            f"95 % intervals of {s.resamples} bootstrap samples of {drawn}.",
            "## Treatments",
            _table(self.shown()),
            f"Distance: mean of the wells' median scores, 0 that of {screen.negative}, 1 that of {screen.positive}. "
            f"Like {screen.negative}: share of cells nearer to its median score than to that of {screen.positive}. "
            f"p: permutation of wells within plates against {against}; q: Benjamini and Hochberg, below {LEVEL} told.",
            "## Plates",
            _table(plates),
            "Shift: mean of what wells differ from their treatment's mean, over the distance between the controls.",
        ]
        bullets = "\n".join(part for part in parts if part.startswith("- "))
        rest = [part for part in parts if not part.startswith("- ")]
        return "\n\n".join([*rest[:2], bullets, *rest[2:]]) + "\n"


def interval(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Text such as 0.62 (0.55 to 0.68); "" where there is no value."""
    if value is None or not np.isfinite(value):
        return ""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _three(row: dict, key: str) -> str:
    return interval(row[key], row[f"{key}_low"], row[f"{key}_high"])


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _table(frame: pd.DataFrame) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    head = [line([str(name) for name in frame.columns]), line(["---"] * frame.shape[1])]
    return "\n".join(head + [line([str(cell) for cell in row]) for row in frame.itertuples(index=False)])

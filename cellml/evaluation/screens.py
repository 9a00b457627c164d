"""A screen: single cells with a score in wells on plates, two controls among the treatments.

A well's value is the median of its cells' scores. Distances are in units of what lies between the controls: 0 is the
negative control, 1 the positive one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.errors import UserError, near
from cellml.evaluation import intervals
from cellml.evaluation.weighted import Cells

Array = npt.NDArray[np.float64]
COLUMNS = ("plate", "well", "treatment", "score")


@dataclass(frozen=True)
class Screen:
    """N cells and their controls.

    Attributes:
        cells: N rows with plate, well and treatment (str) and score (finite); the score rises towards the positive
            control. A well's name is its own within its plate.
        negative: a treatment.
        positive: another one.
        by: what is drawn anew for intervals, "wells" (within their treatment) or "plates".
        resamples: R.
        seed: of the resamples.

    Raises:
        UserError: a control that is no treatment, both the same, scores that are not finite, or a well of several
            treatments.
    """

    cells: pd.DataFrame
    negative: str
    positive: str
    by: str = "wells"
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        check_controls(self.negative, self.positive, set(self.cells["treatment"]))
        if odd := int((~np.isfinite(self.cells["score"])).sum()):
            raise UserError(f"Expected finite scores, got {odd} that are not; train the model again, or take another")
        kinds = self.cells.groupby(["plate", "well"], sort=True)["treatment"].agg(lambda column: sorted(set(column)))
        if len(mixed := kinds[kinds.map(len) > 1]):
            (plate, well), names = mixed.index[0], mixed.iloc[0]
            raise UserError(
                f"Expected one treatment a well, found {names[:5]} in well {well} of plate {plate or '(none)'} "
                f"({len(mixed)} such wells); correct the columns of plate, well and treatment"
            )

    @cached_property
    def wells(self) -> pd.DataFrame:
        """W rows, sorted: `plate`, `well`, `treatment`, `cells`, `value` (median score), `like` (cells, see `like`)."""
        table = self.cells.assign(like=self.like)
        found = table.groupby(["plate", "well"], sort=True).agg(
            treatment=("treatment", "first"), cells=("score", "size"), value=("score", "median"), like=("like", "sum")
        )
        return found.reset_index()

    @property
    def treatments(self) -> list[str]:
        """Those beyond the controls, sorted."""
        return sorted(set(self.cells["treatment"]) - {self.negative, self.positive})

    @cached_property
    def like(self) -> npt.NDArray[np.bool_]:
        """Cells that look like the negative control, (N,): nearer to its median score than to the positive one's."""
        score = self.cells["score"].to_numpy()
        medians = [float(np.median(self.scores(name))) for name in (self.negative, self.positive)]
        return np.abs(score - medians[0]) < np.abs(score - medians[1])

    def scores(self, treatment: str) -> Array:
        """Scores of a treatment's cells, (n,)."""
        return self.cells["score"][self.cells["treatment"] == treatment].to_numpy(dtype=np.float64)

    def rows(self, treatment: str) -> npt.NDArray[np.int64]:
        """Places of a treatment's wells among `wells`."""
        return np.flatnonzero(self.wells["treatment"] == treatment)

    def single(self, treatment: str) -> Cells:
        """A treatment's cells in its wells, in the order of `rows`."""
        rows = self.rows(treatment)
        table = self.cells[self.cells["treatment"] == treatment]
        keys = pd.MultiIndex.from_frame(self.wells.iloc[rows][["plate", "well"]])
        codes = keys.get_indexer(pd.MultiIndex.from_frame(table[["plate", "well"]]))
        return Cells(table["score"].to_numpy(dtype=np.float64), codes.astype(np.int64), len(rows))

    def draws(self) -> Iterator[Array]:
        """How often each well is drawn, in chunks (W, r): within treatments, or with all of its plate."""
        column = "treatment" if self.by == "wells" else "plate"
        codes, names = pd.factorize(self.wells[column], sort=True)
        if self.by == "wells":
            yield from intervals.stratified(codes.astype(np.int64), self.resamples, self.seed)
        else:
            yield from (d[codes] for d in intervals.multiplicities(len(names), self.resamples, self.seed))

    def too_few(self, *treatments: str) -> str:
        """Why nothing can be drawn anew for these treatments; "" where it can."""
        what = "well" if self.by == "wells" else "plate"
        for name in treatments:
            if (
                self.wells.iloc[self.rows(name)][["plate", "well"][: 1 + (what == "well")]].drop_duplicates().shape[0]
                < 2
            ):
                return f"no interval: {name} has one {what}"
        return ""


def check_controls(negative: str, positive: str, treatments: set[str]) -> None:
    """Refuse controls that are none.

    Args:
        negative: name of a control.
        positive: name of the other one.
        treatments: known ones.

    Raises:
        UserError: one is missing or both are the same.
    """
    for which, name in (("negative", negative), ("positive", positive)):
        if name not in treatments:
            raise UserError(
                f"Expected the {which} control among the treatments, got {name!r}: {near(name, treatments)}; "
                f"name it with {which}="
            )
    if negative == positive:
        raise UserError(f"Expected two controls, got {negative!r} as both; name another one")

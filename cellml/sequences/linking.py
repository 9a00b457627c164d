"""Linking the cells of neighbouring frames into tracks, with divisions, where only masks or outlines exist."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellml.errors import UserError
from cellml.sequences.cells import Cells, area

GAP = 2  # frames for which a cell may be missing
HALF = (0.25, 0.8)  # a daughter's area over its mother's; half the volume of a ball has 0.63 of its cross-section
FEW = 3  # frames before and after a division whose median area counts, and that a daughter lives at least
_UNSEEN = 1e-6  # areas ride beside the coordinates, so small that distances do not feel them


def link(cells: Cells, distance: float) -> Cells:
    """Tracks of cells by the linear assignment of Jaqaman et al. 2008 (Nature Methods 5:695), as laptrack solves it.

    Cells of neighbouring frames are joined so that the squared distances of their centres sum up to the least; then
    gaps of up to two frames are closed, and the beginning of a track is joined to the middle of another one as its
    daughter. It stands where both daughters have about half of the mother's area and live on for some frames; else the
    larger one goes on as the same cell. After a division both daughters are tracks of their own.

    Args:
        cells: N rows with outlines; their tracks and parents are not looked at.
        distance: pixels that a cell moves at most between two frames, and a daughter's centre from the mother's.

    Returns:
        The same rows with new tracks, counted from 1 in order of their first frame, and parents.

    Raises:
        UserError: the extra `tracking` is not installed.
    """
    tracker = _tracker(distance**2)
    areas = [_UNSEEN * area(outline) if outline is not None else 0.0 for outline in cells.outlines]
    points = cells.table[["frame", "x", "y"]].assign(row=np.arange(len(cells)), area=areas)
    points = points.sort_values("frame", kind="stable").reset_index(drop=True)
    tracks, splits, _ = tracker.predict_dataframe(points, ["x", "y", "area"], only_coordinate_cols=False)
    tracks = tracks.set_index("row").sort_values("frame", kind="stable")
    mothers, same = _divisions(tracks, splits)
    segments = tracks["track_id"].map(lambda track: _last(track, same)).sort_index()
    first = tracks["frame"].groupby(segments).min().sort_values(kind="stable")
    names = {track: str(number) for number, track in enumerate(first.index, start=1)}
    parents = {names[_last(child, same)]: names[_last(mother, same)] for child, mother in mothers.items()}
    named = segments.map(names)
    table = cells.table.assign(track=named, parent=named.map(lambda track: parents.get(track, "")))
    return Cells.of(table, cells.outlines)


def _tracker(cutoff: float) -> Any:
    try:
        from laptrack import LapTrack
    except ImportError:
        raise UserError(
            "Expected the package laptrack to link masks into tracks, it is not installed; pip install cellml[tracking]"
        ) from None
    return LapTrack(
        metric="sqeuclidean",
        cutoff=cutoff,
        gap_closing_cutoff=cutoff,
        gap_closing_max_frame_count=GAP,
        splitting_metric=_division,
        splitting_cutoff=cutoff,
        merging_cutoff=False,
        # what it costs to leave a gap open or a beginning without mother: more than any that is near enough
        segment_start_cost=cutoff,
        segment_end_cost=cutoff,
        no_splitting_cost=cutoff,
    )


def _division(daughter: npt.NDArray[np.float64], mother: npt.NDArray[np.float64]) -> float:
    """Cost of a division: the squared distance, or infinity where the areas speak against it."""
    if not HALF[0] * mother[2] <= daughter[2] <= HALF[1] * mother[2]:
        return float("inf")
    return float(((daughter[:2] - mother[:2]) ** 2).sum())


def _divisions(tracks: pd.DataFrame, splits: pd.DataFrame) -> tuple[dict[int, int], dict[int, int]]:
    """Daughter -> mother of the divisions that stand; larger daughter -> mother of the others."""
    mothers: dict[int, int] = {}
    same: dict[int, int] = {}
    if len(splits):
        areas = {track: rows.to_numpy() for track, rows in tracks.groupby("track_id")["area"]}
        for mother in splits["parent_track_id"].unique().tolist():
            pair = splits.loc[splits["parent_track_id"] == mother, "child_track_id"].tolist()
            before = np.median(areas[mother][-FEW:])
            shares = [np.median(areas[child][:FEW]) / before for child in pair]
            lives = all(len(areas[child]) >= FEW for child in pair)
            if lives and all(HALF[0] <= share <= HALF[1] for share in shares):
                mothers |= dict.fromkeys(pair, mother)
            else:
                same[pair[int(np.argmax(shares))]] = mother
    return mothers, same


def _last(track: int, same: dict[int, int]) -> int:
    while track in same:
        track = same[track]
    return track

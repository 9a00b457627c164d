"""What holds of a table of tracks: every frame once and none missing, mothers that are there, families.

A table of tracks has one row a frame of a track: `movie` and `track` (str), `frame` (int), `x`, `y` (float, pixels),
`parent` (a track of the same movie, "" for none), `label` ("" where unknown) and `line` (for messages: "line 7").
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cellml.errors import UserError


def families(sequences: npt.ArrayLike, parents: npt.ArrayLike, groups: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Groups that also keep a sequence, its mother's and its sisters' together.

    Args:
        sequences: (N,) sequence of each row.
        parents: (N,) sequence of its mother, "" for none; one that has no rows is no tie.
        groups: (N,) group of each row.

    Returns:
        (N,) group numbers.
    """
    names, sequence = np.unique(np.asarray(sequences).astype(str), return_inverse=True)
    _, group = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    number = {name: k for k, name in enumerate(names)}
    mother = np.array([number.get(str(parent), -1) for parent in np.asarray(parents)])
    has, first = mother >= 0, len(names)
    a, b = np.concatenate([sequence, sequence[has]]), np.concatenate([group + first, mother[has]])
    size = first + int(group.max()) + 1
    _, component = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(size, size)), directed=False)
    return component[sequence]


def roots(tracks: pd.DataFrame, where: str) -> npt.NDArray[np.object_]:
    """First ancestor of each row's track, (N,) str.

    Raises:
        UserError: a parent without a track, or one that comes after its daughter; names the line.
    """
    one = tracks.groupby(["movie", "track"], sort=False)
    first, last = one["frame"].min(), one["frame"].max()
    parent, lines = one["parent"].first(), one["line"].first()
    for movie, track in parent.index[parent != ""]:
        mother, line = parent[movie, track], lines[movie, track]
        if (movie, mother) not in first.index:
            raise UserError(
                f"Expected a track {mother} as parent of track {track} in {where}, {line}, found none; correct "
                "the parent or leave it blank"
            )
        if last[movie, mother] >= first[movie, track]:
            raise UserError(
                f"Expected the parent of track {track} to end before it, in {where}, {line}: track {mother} ends "
                f"in frame {last[movie, mother]}, {track} starts in {first[movie, track]}; correct one of them"
            )
    found: dict[tuple[str, str], str] = {}
    for movie, track in first.sort_values(kind="stable").index:
        mother = parent[movie, track]
        found[movie, track] = found[movie, mother] if mother else track
    return np.array([found[key] for key in zip(tracks["movie"], tracks["track"], strict=True)], dtype=object)


def gaps(tracks: pd.DataFrame, fill: bool, where: str) -> pd.DataFrame:
    """Tracks in order, each frame once and none missing in the middle.

    Args:
        tracks: rows in any order.
        fill: put a row without a label, on the line between its neighbours, where a frame is missing.
        where: what they belong to, for messages.

    Raises:
        UserError: a frame twice, or, without `fill`, one that is missing; names the lines.
    """
    tracks = tracks.sort_values(["movie", "track", "frame"], kind="stable").reset_index(drop=True)
    same = (tracks[["movie", "track"]] == tracks[["movie", "track"]].shift()).all(axis=1).to_numpy()
    step = np.where(same, tracks["frame"].diff().fillna(0).to_numpy(), 1).astype(np.int64)
    if len(wrong := np.flatnonzero(step == 0)):
        at = tracks.iloc[wrong[0]]
        raise UserError(
            f"Expected each frame of a track once in {where}, found frame {at.frame} of track {at.track} again in "
            f"{at.line}; remove one"
        )
    holes = np.flatnonzero(step > 1)
    if not len(holes):
        return tracks
    if not fill:
        at, before = tracks.iloc[holes[0]], tracks.iloc[holes[0] - 1]
        raise UserError(
            f"Expected track {at.track} in every frame from first to last in {where}, frame {before.frame + 1} is "
            f"missing between {before.line} and {at.line}; add it, or set data.options.gaps: fill"
        )
    copies = tracks.loc[np.repeat(tracks.index.to_numpy(), step)].reset_index(drop=True)
    back = np.concatenate([np.arange(n - 1, -1, -1) for n in step])  # frames before the row that was copied
    share = back / np.repeat(step, step)
    earlier = np.repeat(np.maximum(np.arange(len(tracks)) - 1, 0), step)
    for axis in ("x", "y"):
        copies[axis] = copies[axis] * (1 - share) + tracks[axis].to_numpy()[earlier] * share
    copies["frame"] -= back
    copies.loc[back > 0, [c for c in ("label", "mask") if c in copies]] = ""
    return copies

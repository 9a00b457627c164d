"""Where the cells of a movie are: one row a cell and frame, with or without an outline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from skimage import measure

from cellml.data import roi
from cellml.data.images import natural
from cellml.errors import UserError
from cellml.sequences.movies import Movie

COLUMNS = ("track", "frame", "x", "y", "parent", "observed")

Points = npt.NDArray[np.float64]  # (P, 2): x, y in pixels from the top left corner of the image


@dataclass(frozen=True)
class Cells:
    """Cells of a movie, immutable.

    Attributes:
        table: N rows by track and frame: `track` (str, one cell over time), `frame` (from 0 on), `x`, `y` (pixels from
            the top left corner of the image), `parent` (the track of the mother, "" for none or unknown) and
            `observed` (a stage's name, "" for unknown).
        outlines: (N,) closed outlines (P, 2), or None where only the place is known.
    """

    table: pd.DataFrame
    outlines: tuple[Points | None, ...]

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def of(cls, rows: pd.DataFrame, outlines: Sequence[Points | None] | None = None) -> "Cells":
        """Put rows in order; `parent` and `observed` may be missing."""
        given = rows.assign(**{name: "" for name in ("parent", "observed") if name not in rows})
        given = given[list(COLUMNS)].reset_index(drop=True)
        order = np.lexsort((given["frame"].to_numpy(), _ranks(given["track"])))
        kept = [None] * len(given) if outlines is None else list(outlines)
        return cls(given.iloc[order].reset_index(drop=True), tuple(kept[k] for k in order))

    def where(self, mask: npt.NDArray[np.bool_]) -> "Cells":
        """The rows where a boolean (N,) mask is true."""
        table = self.table[mask].reset_index(drop=True)
        return Cells(table, tuple(o for o, keep in zip(self.outlines, mask, strict=True) if keep))

    def tracks(self) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
        """Each track with the positions of its rows, in order of time."""
        for track, rows in self.table.groupby("track", sort=False).indices.items():
            yield str(track), np.asarray(rows, dtype=np.int64)

    def frames(self, count: int) -> list[npt.NDArray[np.int64]]:
        """Positions of the rows of each of `count` frames."""
        order = np.argsort(self.table["frame"].to_numpy(), kind="stable")
        edges = np.searchsorted(self.table["frame"].to_numpy()[order], np.arange(1, count))
        return np.split(order, edges)

    def filled(self) -> tuple["Cells", npt.NDArray[np.bool_]]:
        """With rows, on the line between their neighbours, where a track misses frames; and which rows were there."""
        parts = []
        for track, rows in self.tracks():
            had = self.table["frame"].to_numpy()[rows]
            every = np.arange(had[0], had[-1] + 1)
            between = {axis: np.interp(every, had, self.table[axis].to_numpy()[rows]) for axis in ("x", "y")}
            parts.append(pd.DataFrame({"track": track, "frame": every, **between, "had": np.isin(every, had)}))
        table = pd.concat(parts, ignore_index=True)
        return Cells.of(table), table["had"].to_numpy(dtype=bool)


def from_outlines(outlines: Sequence[roi.Outline], source: str, frames: int) -> Cells:
    """Cells of ImageJ outlines that are named `<frame>-<cell>`.

    Args:
        outlines: N outlines.
        source: what an error names.
        frames: of the movie.

    Raises:
        UserError: another name, two outlines of one cell in a frame, or a frame that the movie does not have.
    """
    numbers = roi.numbered(outlines, source)
    if late := [k for k, (frame, _) in enumerate(numbers) if frame >= frames]:
        name = outlines[late[0]].name
        raise UserError(f"Expected outlines of {frames} frames in {source}, got {name}; give the whole movie")
    centres = np.array([roi.centroid(outline.points) for outline in outlines])
    rows = {
        "track": [cell for _, cell in numbers],
        "frame": [frame for frame, _ in numbers],
        "x": centres[:, 0],
        "y": centres[:, 1],
    }
    return Cells.of(pd.DataFrame(rows), [outline.points for outline in outlines])


def from_masks(masks: Movie, frames: int, size: tuple[int, int]) -> Cells:
    """Cells of label images, 0 background and a number a cell; `track` is that number.

    Args:
        masks: a label image a frame.
        frames: of the movie.
        size: height and width of the movie's frames.

    Raises:
        UserError: another number of frames, another size, or no cell anywhere.
    """
    if len(masks) != frames or masks.shape[:2] != size:
        raise UserError(
            f"Expected {frames} masks of {size[0]} x {size[1]} pixels as the movie has, got {len(masks)} of "
            f"{masks.shape[0]} x {masks.shape[1]} in {masks.path}"
        )
    rows: list[dict[str, Any]] = []
    outlines: list[Points] = []
    for t in range(frames):
        for region in measure.regionprops(masks.frame(t)[:, :, 0].astype(np.int64)):
            y, x = region.centroid
            rows.append({"track": str(region.label), "frame": t, "x": x + 0.5, "y": y + 0.5})
            outlines.append(contour(region.image, region.bbox[:2]))
    if not rows:
        raise UserError(f"Expected cells in the masks of {masks.path}, found none: every pixel is 0")
    return Cells.of(pd.DataFrame(rows), outlines)


def contour(inside: npt.NDArray[np.bool_], corner: tuple[int, int] = (0, 0)) -> Points:
    """The longest outline of a mask.

    Args:
        inside: (H, W) bool.
        corner: row and column of its first pixel in the image.

    Returns:
        (P, 2) x and y in pixels from the image's top left corner, half-way between pixels in and out.
    """
    lines = measure.find_contours(np.pad(inside, 1).astype(np.float32), 0.5)
    longest = max(lines, key=len)[:-1]
    return longest[:, ::-1] - 0.5 + np.array(corner[::-1])


def area(outline: Points) -> float:
    """Square pixels inside a closed outline (P, 2), by the shoelace formula."""
    x, y = (outline - outline.mean(axis=0)).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def extent(cells: Cells) -> float | None:
    """Median of the outlines' longer sides in pixels, or None without outlines."""
    sides = [float(np.ptp(outline, axis=0).max()) for outline in cells.outlines if outline is not None]
    return float(np.median(sides)) if sides else None


def with_outlines(cells: Cells, masks: Movie) -> Cells:
    """The same cells with the outlines of the label that lies under each of them; none where there is background."""
    outlines: list[Points | None] = [None] * len(cells)
    places = np.floor(cells.table[["x", "y"]].to_numpy(dtype=np.float64)).astype(np.int64).tolist()
    for t, rows in enumerate(cells.frames(len(masks))):
        labels = masks.frame(t)[:, :, 0].astype(np.int64)
        regions = {region.label: region for region in measure.regionprops(labels)}
        for row in rows.tolist():
            x, y = places[row]
            if 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1] and (label := int(labels[y, x])):
                outlines[row] = contour(regions[label].image, regions[label].bbox[:2])
    return Cells(cells.table, tuple(outlines))


def _ranks(tracks: pd.Series) -> npt.NDArray[np.int64]:
    """Places of tracks in natural order, so that 2 comes before 10."""
    order = {name: k for k, name in enumerate(sorted(tracks.unique(), key=natural))}
    return tracks.map(order).to_numpy(dtype=np.int64)

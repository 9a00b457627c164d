"""Frames with outlines and labels of what a model says, precomputed so that drawing is all that is left."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cellml.sequences.movies import Movie
from cellml.sequences.overlay import display, places, style
from cellml.sequences.overlay.panel import Panel, Words
from cellml.sequences.said import Said

# what is laid over the window of a cell: colours (h, w, 3) from 0 to 1, and how much of them (h, w)
Heat = Callable[[int], tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]]
_TURN = np.linspace(0, 2 * np.pi, 24)
_CIRCLE = 9 * np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)  # stands for a missing outline, in the picture
_FULL, _BRIEF = 4200, 1300  # square pixels of the picture a cell, for a label with numbers, and for a stage alone


class Renderer:
    """Draws any frame of a movie with what a model says of its cells.

    Outlines have the colour of their stage, red ones an observed stage that differs. A label tells stage and
    confidence, the bar beneath it the normalised entropy; where cells are many, labels tell the stage alone, or only
    errors have one.

    Args:
        movie: T frames.
        said: of its cells.
        words: title, caption, time.
        single: one cell fills the picture: no label, its numbers stand in the panel.
        heat: what to lay over the window of a row's cell, or None.
        window: side in pixels of the movie of what `heat` is laid over.
    """

    def __init__(
        self, movie: Movie, said: Said, words: Words, *, single: bool = False, heat: Heat | None = None, window: int = 0
    ) -> None:
        self.movie, self.said, self.single, self.heat, self.window = movie, said, single, heat, window
        self.shown = display.Range.of(movie)
        self.zoom = display.zoom(movie.shape[:2])
        self.size = round(movie.shape[1] * self.zoom), round(movie.shape[0] * self.zoom)
        self.panel = Panel(said, len(movie), self.size[1], words, single=single)
        self.rows = self.panel.rows
        self.colours = self.panel.colours
        self._centres = said.cells.table[["x", "y"]].to_numpy(dtype=np.float64) * self.zoom
        self._lines = [self._line(row) for row in range(len(said.cells))]
        corners = [(line.min(axis=0), line.max(axis=0)) for line in self._lines]
        self._boxes = np.array([np.concatenate(pair) for pair in corners]).reshape(-1, 4)
        self._wrong = (said.observed >= 0) & (said.observed != said.stages)
        self._width = 3 if single else 2
        self._tags = [] if single else self._label()
        self._corners = self._placed()

    def __len__(self) -> int:
        return len(self.movie)

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return (self.frame(t) for t in range(len(self)))

    def frame(self, t: int) -> npt.NDArray[np.uint8]:
        """Frame t with panel, (H, W, 3) uint8, H and W even."""
        picture = display.picture(self.movie.frame(t), self.shown, self.zoom)
        rows = self.rows[t].tolist()
        if self.heat is not None:
            for row in rows:
                self._lay(picture, row)
        draw = ImageDraw.Draw(picture)
        for row in rows:
            points = self._lines[row].ravel().tolist()
            colour = style.WRONG if self._wrong[row] else self.colours[self.said.stages[row]]
            draw.line(points, fill=style.DARK, width=self._width + 2)
            draw.line(points, fill=colour, width=self._width)
        for row in rows:
            if self._tags and (tag := self._tags[row]) is not None:
                picture.paste(tag.picture(), self._corners[row])
        width, height = self.size[0] + self.panel.still.width, max(self.size[1], self.panel.height)
        whole = Image.new("RGB", (width + width % 2, height + height % 2), style.GROUND)
        whole.paste(picture, (0, (height - self.size[1]) // 2))
        whole.paste(self.panel.draw(t), (self.size[0], 0))
        return np.asarray(whole)

    def _line(self, row: int) -> npt.NDArray[np.float64]:
        """Closed outline (P, 2) of a row in the picture, or a circle."""
        outline = self.said.cells.outlines[row]
        if outline is None:
            return self._centres[row] + _CIRCLE
        points = outline * self.zoom
        return np.concatenate([points, points[:2]])

    def _label(self) -> list[style.Tag | None]:
        """A label a row; None where there is no place for it."""
        said = self.said
        most = max((len(rows) for rows in self.rows), default=0)
        space = self.size[0] * self.size[1] / max(most, 1)
        names, tags = style.short(said.classes), list[style.Tag | None]()
        sure, entropy = np.rint(100 * said.confidence).astype(int), np.rint(100 * said.entropy).astype(int)
        for row, (stage, observed) in enumerate(zip(said.stages.tolist(), said.observed.tolist(), strict=True)):
            text = names[stage]
            if self._wrong[row]:
                text += f" ≠ {names[observed]}"
            elif space < _BRIEF:
                tags.append(None)
                continue
            full = space >= _FULL
            text += f" {sure[row]}%" if full else ""
            uncertain = 4 * (int(entropy[row]) // 4) if full else -1
            tags.append(style.Tag(text, self.colours[stage], uncertain, bool(self._wrong[row])))
        return tags

    def _placed(self) -> list[tuple[int, int]]:
        """Left and top of each row's label; it keeps its side from frame to frame where it can."""
        corners = [(0, 0)] * len(self.said.cells)
        sides: dict[str, int] = {}
        tracks = self.said.cells.table["track"].tolist()
        for rows in self.rows if self._tags else ():
            labelled = [row for row in rows.tolist() if self._tags[row] is not None]
            if not labelled:
                continue
            sizes = np.array([tag.size for row in labelled if (tag := self._tags[row])], dtype=np.float64)
            before = np.array([sides.get(tracks[row], -1) for row in labelled])
            at, chosen = places.place(self._boxes[labelled], sizes, self.size, before)
            for row, corner, side in zip(labelled, at.tolist(), chosen.tolist(), strict=True):
                corners[row] = (corner[0], corner[1])
                sides[tracks[row]] = side
        return corners

    def _lay(self, picture: Image.Image, row: int) -> None:
        """Lay colours over the window of a cell, in place."""
        assert self.heat is not None
        colours, strength = self.heat(row)
        if not self.single:  # windows of neighbours overlap: theirs fade towards the edge
            across = np.linspace(-1, 1, len(strength))
            strength = strength * np.clip(2 * (1 - np.hypot(across[:, None], across)), 0, 1)
        side = max(1, round(self.window * self.zoom))
        x, y = self._centres[row] - side / 2
        rgb = Image.fromarray(np.rint(255 * colours).astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
        mask = Image.fromarray(np.rint(255 * strength).astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
        picture.paste(rgb, (round(x), round(y)), mask)

"""The column beside the picture: title, time, legend, what is said, and its course over the movie."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cellml.sequences.overlay import style
from cellml.sequences.said import Said

WIDTH, MARGIN = 270, 14
LEAST = 470  # height in pixels
_ROW, _CHART, _RIBBON = 22, 92, 12
_INNER = WIDTH - 2 * MARGIN


@dataclass(frozen=True)
class Words:
    """What the panel says beside the numbers.

    Attributes:
        title: the model, say.
        caption: a warning at the bottom, "" for none.
        interval: minutes between two frames, None where unknown.
        first: frame of the whole movie that the first one shown is.
        frames: of the whole movie, 0: as many as are shown.
    """

    title: str
    caption: str = ""
    interval: float | None = None
    first: int = 0
    frames: int = 0


class Panel:
    """Draws the column for any frame; everything that does not change is drawn once.

    Args:
        said: of the cells.
        frames: T of the movie.
        height: in pixels; may come out larger.
        words: title, caption, time.
        single: one cell fills the picture.
    """

    def __init__(self, said: Said, frames: int, height: int, words: Words, *, single: bool = False) -> None:
        self.said, self.frames, self.words, self.single = said, frames, words, single
        self.colours = style.colours(len(said.classes))
        self.rows = said.cells.frames(frames)
        k, stages = len(said.classes), said.stages
        self.counts = np.stack([np.bincount(stages[rows], minlength=k) for rows in self.rows])
        self.marked = bool((said.observed >= 0).any())
        self._legend = 72 + (136 if single else 0)
        keys = self._legend + _ROW * k + 10
        self._chart = keys + (18 if self.marked else 0) + 18 + (0 if single else 20)
        caption = style.wrapped(words.caption, 12, _INNER)
        bottom = self._chart + _CHART + 10 + (2 * (_RIBBON + 4) if single else 0)
        self.height = max(height, LEAST, bottom + 18 * len(caption) + MARGIN)
        self.still = Image.new("RGB", (WIDTH, self.height), style.GROUND)
        self._draw_still(ImageDraw.Draw(self.still), keys, caption)

    def draw(self, t: int) -> Image.Image:
        """The column of frame t."""
        image = self.still.copy()
        draw = ImageDraw.Draw(image)
        draw.text((MARGIN, 42), self._when(t), font=style.font(13), fill=style.INK)
        if self.single:
            self._draw_said(draw, t)
        else:
            for k, count in enumerate(self.counts[t].tolist()):
                at = (WIDTH - MARGIN, self._legend + _ROW * k + _ROW // 2)
                fill = style.INK if count else style.SOFT
                draw.text(at, str(count), font=style.font(13), fill=fill, anchor="rm")
        x = MARGIN + (t + 0.5) * _INNER / self.frames
        low = self._chart + _CHART + (2 * (_RIBBON + 4) if self.single else 0)
        draw.line((x, self._chart - 3, x, low + 2), fill=style.INK, width=1)
        return image

    def _when(self, t: int) -> str:
        t += self.words.first
        text = f"frame {t + 1} of {self.words.frames or self.frames}"
        if self.words.interval is None:
            return text
        minutes = t * self.words.interval
        clock = f"{int(minutes // 60)} h {minutes % 60:02.0f} min" if minutes >= 60 else f"{minutes:.4g} min"
        return f"{clock}  ({text})"

    def _draw_still(self, draw: ImageDraw.ImageDraw, keys: int, caption: list[str]) -> None:
        title = style.fitted(self.words.title, 14, _INNER, bold=True)
        draw.text((MARGIN, 16), title, font=style.font(14, bold=True), fill=style.INK)
        names = zip(self.said.classes, style.short(self.said.classes), self.colours, strict=True)
        for k, (name, short, colour) in enumerate(names):
            y = self._legend + _ROW * k + _ROW // 2
            draw.rectangle((MARGIN, y - 6, MARGIN + 12, y + 6), fill=colour)
            wide = style.width(short, 13, bold=True)
            draw.text((MARGIN + 20, y), short, font=style.font(13, bold=True), fill=style.INK, anchor="lm")
            if short != name:
                rest = style.fitted(name, 12, _INNER - 20 - wide - 44)
                draw.text((MARGIN + 26 + wide, y), rest, font=style.font(12), fill=style.SOFT, anchor="lm")
        small: dict[str, Any] = {"font": style.font(11), "fill": style.SOFT}
        if not self.single:
            draw.rectangle((MARGIN, keys + 6, MARGIN + 30, keys + 9), fill=style.FIELD)
            draw.rectangle((MARGIN, keys + 6, MARGIN + 12, keys + 9), fill=style.INK)
            draw.text((MARGIN + 38, keys), "entropy, of the largest possible", **small)
            keys += 20
        if self.marked:
            draw.rectangle((MARGIN, keys + 1, MARGIN + 12, keys + 13), fill=style.WRONG)
            draw.text((MARGIN + 20, keys), "another stage was observed", **small)
        self._draw_chart(draw)
        for line, text in enumerate(caption):
            y = self.height - MARGIN - 18 * (len(caption) - line)
            draw.text((MARGIN, y), text, font=style.font(12), fill=style.WARNING)

    def _draw_chart(self, draw: ImageDraw.ImageDraw) -> None:
        small: dict[str, Any] = {"font": style.font(11), "fill": style.SOFT}
        text = "share of the cells over time"
        if self.single:
            text = f"probabilities, stage{', observed stage' if self.marked else ''} over time"
        draw.text((MARGIN, self._chart - 17), text, **small)
        shares = self.counts.astype(np.float64)
        if self.single:
            shares[:] = 0
            for t, rows in enumerate(self.rows):
                shares[t] = self.said.probabilities[rows].sum(axis=0)
        self.still.paste(Image.fromarray(stacked(shares, self.colours, _INNER, _CHART)), (MARGIN, self._chart))
        if self.single:
            y = self._chart + _CHART + 4
            for known, stages in ((True, self.said.stages), (self.marked, self.said.observed)):
                if known:
                    strip = Image.fromarray(stacked(self._ribbon(stages), self.colours, _INNER, _RIBBON))
                    self.still.paste(strip, (MARGIN, y))
                y += _RIBBON + 4

    def _ribbon(self, stages: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        shares = np.zeros((self.frames, len(self.colours)))
        for t, rows in enumerate(self.rows):
            for stage in stages[rows]:
                if stage >= 0:
                    shares[t, stage] = 1
        return shares

    def _draw_said(self, draw: ImageDraw.ImageDraw, t: int) -> None:
        """The one cell's stage, confidence and entropy as words and bars."""
        if not len(self.rows[t]):
            draw.text((MARGIN, 72), "not tracked here", font=style.font(13), fill=style.SOFT)
            return
        row = int(self.rows[t][0])
        said, names = self.said, self.said.classes
        stage, observed = int(said.stages[row]), int(said.observed[row])
        wrong = observed >= 0 and observed != stage
        draw.text((MARGIN, 68), style.fitted(names[stage], 20, _INNER, bold=True), font=style.font(20, bold=True),
                  fill=style.WRONG if wrong else self.colours[stage])  # fmt: skip
        if self.marked:
            text = f"observed: {names[observed]}" if observed >= 0 else "observed: unknown"
            draw.text((MARGIN, 98), style.fitted(text, 13, _INNER), font=style.font(13), fill=style.INK)
        for y, name, value in ((124, "confidence", said.confidence[row]), (156, "entropy", said.entropy[row])):
            draw.text((MARGIN, y), name, font=style.font(12), fill=style.SOFT)
            draw.text((WIDTH - MARGIN, y), f"{value:.2f}", font=style.font(12), fill=style.INK, anchor="ra")
            draw.rectangle((MARGIN, y + 18, WIDTH - MARGIN, y + 22), fill=style.FIELD)
            draw.rectangle((MARGIN, y + 18, MARGIN + round(_INNER * value), y + 22), fill=style.INK)


def stacked(
    shares: npt.NDArray[np.float64], colours: list[style.Colour], width: int, height: int
) -> npt.NDArray[np.uint8]:
    """Shares of K stages in T frames as stacked areas, the first stage at the bottom.

    Args:
        shares: (T, K), none negative; a frame without any is left dark.
        colours: K of them.
        width: of the picture.
        height: of the picture.

    Returns:
        (height, width, 3) uint8.
    """
    total = shares.sum(axis=1, keepdims=True)
    tops = np.cumsum(shares / np.where(total > 0, total, 1), axis=1)[np.arange(width) * len(shares) // width]
    levels = 1 - (np.arange(height) + 0.5) / height
    stage = (levels[:, None, None] > tops[None]).sum(axis=2)
    table = np.array([*colours, style.FIELD], dtype=np.uint8)
    return table[np.minimum(stage, len(colours))]

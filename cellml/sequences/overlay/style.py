"""Colours, letters and short names of stages on dark pictures."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from PIL import Image, ImageColor, ImageDraw, ImageFont

from cellml.evaluation import style

Colour = tuple[int, int, int]
LETTERS = 12  # pixels, of a label

INK, SOFT, GROUND, FIELD = (240, 240, 240), (160, 160, 160), (24, 24, 28), (52, 52, 58)
WRONG, DARK, WARNING = (214, 39, 40), (0, 0, 0), (240, 190, 90)


def colours(count: int) -> list[Colour]:
    """A colour a stage, the figures'."""
    found = []
    for colour in style.stages(count):
        r, g, b = ImageColor.getrgb(colour)[:3]
        found.append((r, g, b))
    return found


def short(names: Sequence[str], least: int = 3) -> list[str]:
    """Short names that stay different: as many first letters as that takes, or whole names where nothing does.

    Example:
        >>> short(["Prophase", "Prometaphase", "Metaphase"])
        ['Prop', 'Prom', 'Met']
    """
    found = []
    for name in names:
        others = [other for other in names if other != name]
        lengths = (n for n in range(least, len(name)) if not any(other.startswith(name[:n]) for other in others))
        found.append(name[: next(lengths, len(name))])
    return found


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings, at a size in pixels."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


def width(text: str, size: int, bold: bool = False) -> int:
    """Pixels that a text takes from left to right."""
    return round(font(size, bold).getlength(text))


def wrapped(text: str, size: int, most: int) -> list[str]:
    """A text in lines of at most `most` pixels, broken at blanks; a longer word is cut."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and width(joined, size) <= most:
            lines[-1] = joined
        else:
            lines.append(fitted(word, size, most))
    return lines


def fitted(text: str, size: int, most: int, bold: bool = False) -> str:
    """A text cut in its middle until it takes at most `most` pixels."""
    shown = text
    while len(shown) > 1 and width(shown, size, bold) > most:
        keep = min(len(shown) - 1, max(1, int(len(shown) * most / width(shown, size, bold)))) - 1
        shown = f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
    return shown


@dataclass(frozen=True)
class Tag:
    """A cell's label: its text on a dark ground (red: wrong), an edge in its stage's colour, a bar of its entropy.

    Attributes:
        text: short.
        edge: the stage's colour.
        uncertainty: normalised entropy in percent; below 0: no bar.
        wrong: whether another stage was observed.
    """

    text: str
    edge: Colour
    uncertainty: int
    wrong: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return _width(self.text) + 9, round(1.25 * LETTERS) + 2 + self._bar

    @functools.lru_cache(maxsize=4096)  # noqa: B019  # equal labels of any cell are drawn once
    def picture(self) -> Image.Image:
        """The label, RGB."""
        wide, high = self.size
        image = Image.new("RGB", (wide, high), WRONG if self.wrong else GROUND)
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 0, 2, high), fill=self.edge)
        draw.text((6, (high - self._bar) / 2), self.text, font=font(LETTERS), fill=INK, anchor="lm")
        if self._bar:
            draw.rectangle((3, high - self._bar, wide, high), fill=FIELD)
            if filled := round((wide - 4) * self.uncertainty / 100):
                draw.rectangle((3, high - self._bar, 3 + filled, high), fill=INK)
        return image

    @property
    def _bar(self) -> int:
        return 3 if self.uncertainty >= 0 else 0


@functools.lru_cache(maxsize=4096)
def _width(text: str) -> int:
    return width(text, LETTERS)
